# ruff: noqa: E501 - whole sentences stand on one line, as people read them
from __future__ import annotations

from collections.abc import Callable

import pytest
from config_samples import bent

from benchrunner.errors import ConfigError, did_you_mean

FaultsOf = Callable[..., tuple[str, ...]]
KEY = 'id = "key1"\nenv = "GATE_KEY_1"'


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "workers = 12",
            "workers = -3",
            '[models."qwen2.5-72b-instruct"] workers = -3: must be at least 1',
        ),
        (
            "workers = 12",
            "wokers = 12",
            '[models."qwen2.5-72b-instruct"] wokers: unknown key; did you mean "workers"?',
        ),
        (
            "workers = 12",
            "workers = 1.5",
            '[models."qwen2.5-72b-instruct"] workers = 1.5: must be a whole number',
        ),
        (
            "workers = 12",
            "workers = true",
            '[models."qwen2.5-72b-instruct"] workers = true: must be a whole number',
        ),
        (
            "expected_call_s = 2.4",
            "expected_call_s = inf",
            '[models."qwen2.5-72b-instruct"] expected_call_s = inf: must be a finite number',
        ),
        (
            "expected_call_s = 2.4",
            "expected_call_s = 0",
            '[models."qwen2.5-72b-instruct"] expected_call_s = 0: must be more than 0',
        ),
        ("expected_call_s = 2.4", "temperature = 3", '[models."qwen2.5-72b-instruct"] temperature = 3: must be at most 2'),
        ("speed = 5", 'speed = "fast"', '[simulator] speed = "fast": must be a number'),
        ("speed = 5", "latency = 1", "[simulator] latency = 1: must be true or false"),
        (
            "speed = 5",
            'profile = "feild"',
            '[simulator] profile = "feild": must be one of clean, field; did you mean "field"?',
        ),
        ("[simulator]", "[simulater]", '[simulater]: unknown table; did you mean "simulator"?'),
        ('env_file = "keys.env"', "env_file = 3", "[run] env_file = 3: must be text in quotes"),
        ('env_file = "keys.env"', 'backend = "life"', '[run] backend = "life": must be one of simulated, live; did you mean "live"?'),
        ('env_file = "keys.env"', "seed = -1", "[run] seed = -1: must be at least 0"),
        (
            'env_file = "keys.env"',
            'db = "${NOWHERE}/runs.db"',
            '[run] db = "${NOWHERE}/runs.db": the environment variable NOWHERE is not set',
        ),
        ('kind = "openai"\n', "", "[providers.gate] kind: is missing (`openai`: Authorization: Bearer. `azure`: api-key header and deployments in the path)"),
        (
            'base_url = "${GATE_URL}"',
            'base_url = "${GATE_URL}"\nlimts = 1',
            '[providers.gate] limts: unknown key; did you mean "limits"?',
        ),
        (
            'base_url = "${GATE_URL}"',
            'base_url = "${GATE_URL}"\nmargin_floor_s = 0.1',
            "[providers.gate] margin_floor_s = 0.1: must not be more than margin_ceiling_s = 0.06",
        ),
        (
            'base_url = "${GATE_URL}"',
            'base_url = "https://host/v1/chat/completions"',
            "[providers.gate] base_url: must be written up to and without /chat/completions, which is added to it",
        ),
        (
            'base_url = "${GATE_URL}"',
            'base_url = "host/v1"',
            "[providers.gate] base_url: must be an address such as https://host/v1",
        ),
        ('base_url = "${GATE_URL}"', 'base_url = "$GATE_URL"', "[providers.gate] base_url: a variable is written ${NAME}"),
        (
            "https://cloud.example/",
            "https://cloud.example/openai/deployments/x",
            "[providers.cloud] base_url: must be written up to and without /openai, which is added to it",
        ),
        (
            "https://cloud.example/",
            "https://cloud.example?api-version=1",
            "[providers.cloud] base_url: must end before any ? or #; write the version as api_version",
        ),
        (
            'api_version = "2024-12-01-preview"\n',
            "",
            '[providers.cloud] api_version: is missing: kind "azure" needs one, for example "2024-12-01-preview"',
        ),
        ("slots = 0", "slots = -1", "[[providers.cloud.keys]] (cloud) slots = -1: must be at least 0"),
        (
            "{ requests = 10, per_s = 1 }",
            "{ requests = 0, per_s = 1 }",
            "[[providers.gate.keys]] (key0) limits[1].requests = 0: must be at least 1",
        ),
        (
            "{ requests = 10, per_s = 1 }",
            "{ request = 10, per_s = 1 }",
            '[[providers.gate.keys]] (key0) limits[1].request: unknown key; did you mean "requests"?',
        ),
        (
            "{ requests = 10, per_s = 1 }",
            "{ per_s = 1 }",
            "[[providers.gate.keys]] (key0) limits[1]: needs `requests`, `tokens` or both",
        ),
        (
            "{ requests = 10, per_s = 1 }",
            "{ requests = 10 }",
            "[[providers.gate.keys]] (key0) limits[1].per_s: is missing (Length of the sliding window)",
        ),
        ('model = "*"\ntokens = 100_000', 'model = "*"', "[[providers.gate.limits]] (number 1): needs `requests`, `tokens` or both"),
        (
            'model = "qwen2.5-72b-instruct"',
            'model = "qwen2.5-72b-instrukt"',
            '[[providers.gate.limits]] (number 2) model = "qwen2.5-72b-instrukt": there is no such model; did you mean "qwen2.5-72b-instruct"?',
        ),
        (
            'model = "qwen2.5-72b-instruct"',
            'model = "big"',
            '[[providers.gate.limits]] (number 2) model = "big": is served by cloud, not by gate',
        ),
        (KEY, 'id = "key0"\nenv = "GATE_KEY_1"', '[[providers.*.keys]] id = "key0": stands 2 times (providers: gate); key ids are unique'),
        (
            KEY,
            'id = "key 1"\nenv = "GATE_KEY_1"',
            '[[providers.gate.keys]] (number 2) id = "key 1": may hold letters, digits, dots, dashes and underscores, and starts with a letter or digit',
        ),
        ('key = "cloud"', 'key = "key0"', '[models.big] key = "key0": belongs to provider gate, not to cloud'),
        ('key = "cloud"', 'key = "clowd"', '[models.big] key = "clowd": there is no such key; did you mean "cloud"?'),
        ('provider = "cloud"', 'provider = "clout"', '[models.big] provider = "clout": there is no such provider; did you mean "cloud"?'),
        ("skill = 0.25", "skill = 25", "[models.small] simulated.skill = 25: must be at most 1"),
        ("skill = 0.25", "skil = 0.25", '[models.small] simulated.skil: unknown key; did you mean "skill"?'),
        (
            "latency_s = 0.5",
            "latency_s = 0.5\nlatency_p95_s = 0.2",
            "[models.small.simulated] latency_p95_s = 0.2: must not be less than latency_s = 0.5",
        ),
        ('models = ["small"]', "models = []", '[phases."5.3"] models = []: must not be empty'),
        ('models = ["small"]', 'models = "small"', '[phases."5.3"] models = "small": must be a list'),
        (
            'models = ["small"]',
            'models = ["smal"]',
            '[phases."5.3"] models = "smal": there is no such model; did you mean "small"?',
        ),
        ('models = ["small"]', 'models = ["small", "small"]', '[phases."5.3"] models: "small" stands more than once'),
        (
            'prompts = ["optimal"]',
            'prompts = ["optimum"]',
            '[phases."5.1"] prompts = "optimum": there is no such prompt in suite workflow; did you mean "optimal"?',
        ),
        (
            'difficulties = ["easy"]',
            'difficulties = ["hard"]',
            '[phases."5.1"] difficulties = "hard": there is no such difficulty in suite workflow; valid: very_easy, easy, medium',
        ),
        (
            'task_types = ["basic_task"]',
            'task_types = ["basic"]',
            '[phases."5.3"] task_types = "basic": there is no such task type in suite workflow; did you mean "basic_task"?',
        ),
        ('task_types = ["basic_task"]', 'task_types = "basic"', '[phases."5.3"] task_types = "basic": must be "all" or a list'),
        ("instances = 3", "instances = 0", '[phases."5.3"] instances = 0: must be at least 1'),
        ("[0.9, 1]", "[0.9, 1.2]", '[phases."5.3"] tool_success_rates[2] = 1.2: must be at most 1'),
        ("[0.9, 1]", "[0.9, 0.0]", '[phases."5.3"] tool_success_rates[2] = 0.0: must be more than 0'),
        ("[0.9, 1]", "[0.9, 0.9]", '[phases."5.3"] tool_success_rates: 0.9 stands more than once'),
        (
            'order = "grouped"',
            'order = "groupd"',
            '[phases."5.3"] order = "groupd": must be one of serial, concurrent, grouped; did you mean "grouped"?',
        ),
        (
            'policy = "C"',
            'policy = "pol"',
            '[phases."5.1"] policy = "pol": must be one of native, serial, batched, pool, A, B, C; did you mean "pool"?',
        ),
        (
            'groups = [["optimal", "baseline"], ["cot"]]\n',
            "",
            '[phases."5.3"] order = "grouped": needs `groups`, a list of lists that hold every prompt once',
        ),
        ('["cot"]]', '["cot", "optimal"]]', '[phases."5.3"] groups: "optimal" stands more than once'),
        ('"baseline"], ["cot"]]', '"baseline"]]', '[phases."5.3"] groups: the prompt "cot" is in none of them'),
        ('["cot"]]', '["cot", "cod"]]', '[phases."5.3"] groups: "cod" is not among the prompts; did you mean "cot"?'),
        ('["cot"]]', '["cot"], []]', '[phases."5.3"] groups[3] = []: must not be empty'),
        (
            '[phases."5.1"]',
            '[phases."5 1"]',
            '[phases."5 1"]: a name may hold letters, digits, dots, dashes and underscores only',
        ),
        ("[models.big]", '[models."big,one"]', '[models."big,one"]: a model\'s name is not empty or *, and holds no comma'),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_table_key_value_and_remedy(
    faults_of: FaultsOf, old: str, new: str, fault: str
) -> None:
    """Each kind of mistake has its own sentence, with the place and the nearest valid word."""
    assert fault in faults_of(bent((old, new)))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "[providers]: there is none; at least one [providers.NAME] is needed"),
        ("providers = 3", "[providers]: must hold tables such as [providers.NAME], not 3"),
        ("[providers]\ngate = 3", "[providers.gate]: must be a table, not 3"),
        ("[providers.gate]\nkeys = 3", "[providers.gate] keys: is written as [[providers.gate.keys]], once for each"),
        ("[providers.gate]\nkeys = [3]", "[[providers.gate.keys]] (number 1): must be a table, not 3"),
        ("[providers.gate]", "[providers.gate]: has no key; at least one [[providers.gate.keys]] is needed"),
        ("[models]\nbig = []", "[models.big]: must be a table, not []"),
        ("[phases]\n", "[phases]: there is none; at least one [phases.NAME] is needed"),
        ("run = 1", "[run]: must be a table, not 1"),
    ],
)
def test_a_thing_of_the_wrong_shape_is_a_sentence_not_a_traceback(faults_of: FaultsOf, text: str, fault: str) -> None:
    """Whatever TOML allows in a place, the answer is a fault."""
    assert fault in faults_of(text)


def test_all_faults_are_told_at_once_and_each_once(faults_of: FaultsOf) -> None:
    """One run of `check` shows everything there is to mend; a fault does not drag others along."""
    # Given a file with a fault in each table
    text = bent(
        ("speed = 5", "sped = 5"),
        ("slots = 0", "slots = -1"),
        ("workers = 12", "workers = 0"),
        ('key = "key1"', 'key = "key9"'),
        ("instances = 3", "instances = -3"),
        ('policy = "C"', 'policy = "D"'),
    )
    # When it is read
    faults = faults_of(text)
    # Then each is there, and the references to faulty tables are not faults of their own
    assert faults == (
        '[simulator] sped: unknown key; did you mean "speed"?',
        "[[providers.cloud.keys]] (cloud) slots = -1: must be at least 0",
        '[models."qwen2.5-72b-instruct"] workers = 0: must be at least 1',
        '[phases."5.1"] policy = "D": must be one of native, serial, batched, pool, A, B, C',
        '[phases."5.3"] instances = -3: must be at least 1',
        '[models.small] key = "key9": there is no such key; did you mean "key1"?',
    )


def test_a_faulty_value_does_not_hide_what_its_table_refers_to(faults_of: FaultsOf) -> None:
    """A wrong number beside a wrong name: both are told in one go, also where [run] has a fault of its own."""
    text = bent(
        ('env_file = "keys.env"', "sede = 3"),
        ('key = "key0"\nworkers = 12', 'key = "key9"\nworkers = -3'),
        ("instances = 3", "instances = 0"),
        ('prompts = ["optimal"]', 'prompts = ["optimul"]\ninstances = 0'),
    )
    assert faults_of(text) == (
        '[run] sede: unknown key; did you mean "seed"?',
        '[models."qwen2.5-72b-instruct"] workers = -3: must be at least 1',
        '[phases."5.1"] instances = 0: must be at least 1',
        '[phases."5.3"] instances = 0: must be at least 1',
        '[models."qwen2.5-72b-instruct"] key = "key9": there is no such key; did you mean "key1"?',
        '[phases."5.1"] prompts = "optimul": there is no such prompt in suite workflow; did you mean "optimal"?',
    )


def test_a_faulty_value_makes_no_fault_of_a_right_one(faults_of: FaultsOf) -> None:
    """Groups with a hole are one fault, not also an order that lacks its groups."""
    assert faults_of(bent(('["cot"]]', '["cot"], []]'))) == ('[phases."5.3"] groups[3] = []: must not be empty',)


def test_the_error_lists_its_faults_a_line_each(faults_of: FaultsOf) -> None:
    """What the command line prints: the file, the number, and every fault."""
    faults = faults_of(bent(("speed = 5", "speed = 0"), ("slots = 0", "slots = -1")))
    text = str(ConfigError("phases.toml", faults))
    assert text == "phases.toml has 2 faults:\n  - " + "\n  - ".join(faults)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdef0123456789",
        "a1B2c3D4e5F6a1B2c3D4e5F6a1B2c3D4",
        "f0e1d2c3b4a5968778695a4b3c2d1e0f",
        "My secret!",
        "AbCdEfGhIjKlMnOp_QrSt1",
    ],
)
def test_a_secret_in_place_of_a_variable_name_is_refused_and_not_repeated(faults_of: FaultsOf, secret: str) -> None:
    """Who pastes the key itself is told so, in a message that can be shown to others."""
    faults = faults_of(bent(("GATE_KEY_1", secret)))
    assert faults == (
        "[[providers.gate.keys]] (key1) env: put the variable's name here, never the secret"
        " (the value is not repeated here)",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('id = "key1"', 'id = "sk-abcdef0123456789 "'),
        ('id = "key1"', 'id = "key1"\nsecret = "sk-abcdef0123456789"'),
        ('kind = "openai"', 'kind = "sk-abcdef0123456789"'),
        ('key = "key1"', 'key = "sk-abcdef0123456789"'),
        ('base_url = "${GATE_URL}"', 'base_url = "https://user:sk-abcdef0123456789@host/v1"'),
        ('models = ["small"]', 'models = ["sk-abcdef0123456789"]'),
    ],
)
def test_a_secret_anywhere_is_not_repeated(faults_of: FaultsOf, old: str, new: str) -> None:
    """Whatever place a key was pasted into, the message does not carry it further."""
    faults = faults_of(bent((old, new)))
    assert len(faults) >= 1
    assert "abcdef" not in " ".join(faults)


def test_long_values_are_cut_to_one_line(faults_of: FaultsOf) -> None:
    """A value that fills the screen hides the fault."""
    (fault,) = faults_of(bent(("speed = 5", f'speed = "{"na " * 60}"')))
    assert len(fault) < 120


def test_the_nearest_word_is_found_whatever_the_case() -> None:
    """Case is the commonest slip; with nothing near, all valid words are named."""
    assert did_you_mean("deepseek-v3-0324", ["qwen", "DeepSeek-V3-0324"]) == 'did you mean "DeepSeek-V3-0324"?'
    assert did_you_mean("zzz", ["a", "b", "a"]) == "valid: a, b"
    assert did_you_mean("zzz", []) == "there is none yet"

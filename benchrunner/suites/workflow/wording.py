"""How a task is told, at five difficulties: from plain verbs in order to jargon that hides them.

Mean lengths follow the field's libraries: 14, 20, 23, 28 and 33 words. From medium on only the number of operations
shows; at hard and very hard they are called phases.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

DIFFICULTIES: Final = ("very_easy", "easy", "medium", "hard", "very_hard")

# tool -> (plain verb phrase with {it}, what a person calls the tool)
SPOKEN: Final[dict[str, tuple[str, str]]] = {
    "data_processing_parser": ("parse {it}", "data parser"),
    "data_processing_transformer": ("transform {it}", "data transformer"),
    "data_processing_filter": ("filter {it}", "data filter"),
    "data_processing_validator": ("validate {it}", "data validator"),
    "data_processing_aggregator": ("aggregate {it}", "data aggregator"),
    "file_operations_reader": ("read {it} from disk", "file reader"),
    "file_operations_scanner": ("scan the folder for {it}", "file scanner"),
    "file_operations_compressor": ("compress {it}", "file compressor"),
    "file_operations_writer": ("write {it} to a file", "file writer"),
    "network_fetcher": ("fetch {it}", "network fetcher"),
    "network_poster": ("post {it} to the endpoint", "network poster"),
    "network_validator": ("validate {it} against the remote contract", "network validator"),
    "computation_analyzer": ("analyze {it}", "analyzer"),
    "computation_predictor": ("predict the next values", "predictor"),
    "integration_authenticator": ("authenticate", "authenticator"),
    "integration_mapper": ("map the fields", "field mapper"),
    "integration_queue": ("queue {it}", "message queue"),
    "utility_cache": ("cache {it}", "cache"),
    "utility_logger": ("log {it}", "logger"),
    "utility_notifier": ("notify the recipients", "notifier"),
}

_KINDS: Final = (
    "daily", "weekly", "monthly", "regional", "archived", "incoming", "outgoing", "delayed",
    "merged", "sampled", "external", "seasonal",
)  # fmt: skip
_THINGS: Final = (
    "order records", "sensor readings", "customer profiles", "invoice lines", "support tickets", "shipment notices",
    "payment events", "inventory counts", "survey answers", "access logs", "price lists", "flight plans",
    "lab results", "meter values", "booking requests", "audit entries", "claim forms", "rainfall series",
)  # fmt: skip

_GOALS: Final = {
    "simple_task": ("a clean working set", "a tidy extract", "a usable selection"),
    "basic_task": ("a dependable dataset", "a checked summary", "a compact overview"),
    "data_pipeline": ("a consistent dataset", "a quality-assured data product", "a ready-made reporting base"),
    "api_integration": ("a synchronised exchange", "a reliable service hand-over", "an aligned partner feed"),
    "multi_stage_pipeline": ("a finished and delivered analysis", "an end-to-end result", "a fully worked-up package"),
}

_MEDIUM: Final = (
    "Bring the {subject} from their present state to {goal}, carrying out {count} operations in the order their needs "
    "call for.",
    "Starting with the {subject}, arrive at {goal}; {count} operations are needed, each resting upon the one before.",
    "We want {goal} out of the {subject}. Work out which {count} operations lead there, and do them.",
)
_HARD: Final = (
    "To support the {programme}, the {subject} must become {goal}; structure the engagement as {count} phases, each "
    "consuming the verified outcome of its predecessor.",
    "Stakeholders of the {programme} expect {goal} derived from the {subject}. Run {count} phases and open none "
    "whose groundwork is missing.",
    "Within the {programme}, operationalise the {subject} into {goal}, organised along {count} dependent phases that "
    "spare downstream owners any rework.",
)
_VERY_HARD: Final = (
    "Under the {programme}, orchestrate a {count}-phase value stream that onboards the {subject}, enforces governance "
    "gates and lands {goal}, honouring every implicit precondition between adjacent capabilities.",
    "Leverage available capabilities to industrialise the {subject} within the {programme}: converge upon {goal} "
    "through {count} strictly contingent phases whose acceptance conditions stay latent until upstream counterparts "
    "materialise.",
    "As part of the {programme}, drive the {subject} through a {count}-phase maturation path whose provisioning and "
    "conformance concerns interlock, so that {goal} emerges without prematurely triggered obligations.",
)
_PROGRAMMES: Final = (
    "resilience programme", "growth agenda", "compliance roadmap", "service excellence drive", "cost review",
    "data stewardship charter", "partner enablement plan", "modernisation track",
)  # fmt: skip
_NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NAMED_SHARE: Final = 0.4  # of the steps at "easy" that name their tool


def draw_subject(rng: Random) -> str:
    """Return what a task is about, such as "weekly order records"."""
    return f"{rng.choice(_KINDS)} {rng.choice(_THINGS)}"


def describe(required: Sequence[str], subject: str, task_type: str, difficulty: str, rng: Random) -> str:
    """Return the description of a task at a difficulty."""
    if difficulty in ("very_easy", "easy"):
        return _in_order(required, subject, rng, named_share=_NAMED_SHARE if difficulty == "easy" else 0.0)
    templates = {"medium": _MEDIUM, "hard": _HARD, "very_hard": _VERY_HARD}[difficulty]
    return rng.choice(templates).format(
        subject=subject,
        goal=rng.choice(_GOALS[task_type]),
        count=_NUMBERS[len(required)] if len(required) < len(_NUMBERS) else str(len(required)),
        programme=rng.choice(_PROGRAMMES),
    )


def _in_order(required: Sequence[str], subject: str, rng: Random, *, named_share: float) -> str:
    clauses = []
    told = False
    for position, name in enumerate(required):
        verb, spoken = SPOKEN[name]
        it = "them" if told or "{it}" not in verb else f"the {subject}"
        told = told or "{it}" in verb
        clause = verb.format(it=it)
        if named_share and (position == 0 or rng.random() < named_share):
            clause += f" with the {spoken}"
        clauses.append(clause)
    last = rng.choice(("then", "finally", "and then"))
    text = ", ".join([*clauses[:-1], f"{last} {clauses[-1]}"]) + "."
    return text[0].upper() + text[1:]

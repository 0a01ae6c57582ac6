"""A comparison as people read it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from random import Random

import pytest
from compared_runs import keep

from benchrunner.reporting.comparison import Comparison, compare_runs
from benchrunner.reporting.comparison_tables import comparison_parts, verdict_sentences
from benchrunner.reporting.console import console_for
from benchrunner.reporting.tables import show
from benchrunner.store.queries import RunReader

ROOT = Path(__file__).parents[3]
Results = dict[tuple[str, str], str]


def compared(tmp_path: Path, a: Results, b: Results, *, backend: str = "simulated") -> Comparison:
    database = tmp_path / "runs.db"
    keep(database, "a", a, backend=backend)
    keep(database, "b", b, backend=backend)
    with RunReader.open(database) as reader:
        return compare_runs(reader, "a", reader, "b", rng=Random(1), resamples=500)


def text_of(comparison: Comparison, *, flips: int = 20, width: int = 80) -> str:
    stream = StringIO()
    show(console_for(stream, width=width), comparison_parts(comparison, flips=flips))
    return stream.getvalue()


def test_a_drop_is_said_in_words_with_its_interval_and_its_p_value(tmp_path: Path) -> None:
    """Somebody who reads nothing else knows what happened."""
    found = compared(tmp_path, {("m", "optimal"): "F" * 100}, {("m", "optimal"): "F" * 90 + "x" * 10})
    told = verdict_sentences(found)
    assert told == [
        "100.0 % of 100 trials succeeded in A and 90.0 % of their pairs in B: "
        "-10.0 points (95 % interval -16.0 to -5.0).",
        "10 succeeded in A alone (lost), 0 in B alone (won).",
        "This is a significant drop in success: p, how often chance alone makes so large a difference, is 0.0020; "
        "the limit is 0.05.",
        "The mean score, how well trials went and not how many succeeded, is 0.900 in A and 0.820 in B: "
        "-0.080 (95 % interval -0.144 to -0.040).",
        "Scores are not tested: drop, gain and the exit code follow from success alone.",
    ]
    # And the page shows just that
    assert "Overall: " + "\n".join(told) + "\n" in (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")


def test_no_finding_says_what_it_does_not_rule_out(tmp_path: Path) -> None:
    """Few pairs find little: that must not read as proof that nothing changed."""
    found = compared(tmp_path, {("m", "optimal"): "FFFFFFFFFx"}, {("m", "optimal"): "FFFFFFFFxF"})
    low = found.overall.low or 0.0
    assert low < -0.2
    assert verdict_sentences(found)[2:4] == [
        "This is no significant difference in success: p, how often chance alone makes so large a difference, is "
        "1.0000; the limit is 0.05.",
        f"Nor is it proof of none: a drop of up to {-100 * low:.1f} points cannot be ruled out.",
    ]


def test_scores_that_fell_without_success_are_told_apart_from_a_drop(tmp_path: Path) -> None:
    """Full successes that became partial ones: the scores' interval leaves out 0, and nobody takes that for a drop."""
    # Given a run in which twenty of eighty trials went worse and as many succeeded
    found = compared(tmp_path, {("m", "optimal"): "F" * 79 + "x"}, {("m", "optimal"): "F" * 58 + "P" * 20 + "xF"})
    # When it is put in words
    told = verdict_sentences(found)
    # Then both results are explained in one place, and only success decides
    assert found.regressed is False
    assert found.overall.score_high is not None
    assert found.overall.score_high < 0.0
    assert told[2].startswith("This is no significant difference in success: ")
    assert told[-3:] == [
        "The mean score, how well trials went and not how many succeeded, is 0.890 in A and 0.790 in B: "
        "-0.100 (95 % interval -0.148 to -0.050).",
        "Its interval leaves out 0: scores seem to have moved; overall success did not beyond chance.",
        "Scores are not tested: drop, gain and the exit code follow from success alone.",
    ]
    # And the page shows just that
    assert "Overall: " + "\n".join(told) + "\n" in (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")


def test_an_interval_of_success_that_leaves_out_0_does_not_outvote_the_test(tmp_path: Path) -> None:
    """Five lost of a hundred: the bootstrap sees a drop and McNemar's exact test does not; which one counts is told."""
    found = compared(tmp_path, {("m", "optimal"): "F" * 100}, {("m", "optimal"): "F" * 95 + "x" * 5})
    told = verdict_sentences(found)
    assert "(95 % interval -10.0 to -1.0)" in told[0]
    assert "is 0.0625; the limit is 0.05." in told[2]
    assert told[4] == "The interval leaves out 0 all the same: it is an estimate by resampling; the exact p decides."
    assert (found.regressed, found.overall.significant) == (False, False)


@pytest.mark.parametrize(("a", "b"), [("FFFFFFFFFx", "FFFFFFFFxF"), ("F" * 100, "F" * 90 + "x" * 10)])
def test_an_interval_is_remarked_on_only_where_it_seems_to_speak_against_the_verdict(
    tmp_path: Path, a: str, b: str
) -> None:
    """One that holds 0 beside no finding, or leaves it out beside a drop, needs no explaining."""
    told = verdict_sentences(compared(tmp_path, {("m", "optimal"): a}, {("m", "optimal"): b}))
    assert [said for said in told if "leaves out 0" in said] == []


def test_runs_without_one_changed_trial_say_so(tmp_path: Path) -> None:
    """A dry interval of zero width would promise more than was seen."""
    found = compared(tmp_path, {("m", "optimal"): "FFx"}, {("m", "optimal"): "FFx"})
    assert verdict_sentences(found)[0] == "66.7 % of 3 trials succeeded in A and in B, and not one changed sides."
    assert [said for said in verdict_sentences(found) if "significant" in said] == []


def test_rows_without_a_finding_are_told_with_the_p_that_comes_nearest(tmp_path: Path) -> None:
    """And that p is adjusted, for all rows and the overall one."""
    a = {("m", "optimal"): "FFFFFx", ("m", "cot"): "FFFF"}
    b = {("m", "optimal"): "FFFFxF", ("m", "cot"): "FFFF"}
    sentences = verdict_sentences(compared(tmp_path, a, b))
    assert "Row by row, none of the 2 differences above is significant: the smallest p is 1.0000." in sentences
    assert "is 1.0000, adjusted for 3 comparisons; the limit is 0.05." in sentences[2]


def test_conditions_that_dropped_or_gained_are_named(tmp_path: Path) -> None:
    """By what differs between the rows."""
    names = [("m-big", "optimal"), ("m-big", "cot"), ("m-small", "optimal")]
    before = dict(zip(names, ("F" * 40, "x" * 20 + "F" * 20, "F" * 40), strict=True))
    after = dict(zip(names, ("F" * 25 + "x" * 15, "F" * 40, "F" * 40), strict=True))
    sentences = verdict_sentences(compared(tmp_path, before, after))
    assert "Row by row, success fell significantly in m-big, optimal (-37.5 points)." in sentences
    assert "Row by row, success rose significantly in m-big, cot (+50.0 points)." in sentences


@pytest.mark.parametrize("models", [("Llama-3.3-70B-Instruct", "qwen2.5-72b-instruct"), ("m",)])
def test_eighty_columns_hold_every_figure(tmp_path: Path, models: tuple[str, ...]) -> None:
    """No line is longer, no figure is broken, and each table and verdict is marked as simulated."""
    a = {(model, prompt): "F" * 100 for model in models for prompt in ("optimal", "flawed_sequence_disorder_severe")}
    b = dict.fromkeys(a, "F" * 60 + "x" * 40)
    text = text_of(compared(tmp_path, a, b))
    assert max(map(len, text.splitlines())) <= 80
    figures = [line.rstrip() for line in text.splitlines() if line.rstrip().endswith(" 0 <0.0001 drop")]
    assert len(figures) == len(a) + 1
    assert {len(line) for line in figures} == {len(figures[0])}
    assert text.count("SIMULATED") == 4


def test_every_changed_trial_comes_with_the_commands_that_show_it(tmp_path: Path) -> None:
    """One for each side; those over the number asked for are counted."""
    found = compared(tmp_path, {("m", "optimal"): "FFx"}, {("m", "optimal"): "xFF"})
    lines = [line.strip() for line in text_of(found).splitlines()]
    at = lines.index("lost  t0 (basic_task), full -> failure (max_turns)")
    assert lines[at + 1 : at + 4] == [
        "m; optimal, easy, tools 0.8",
        "benchrunner show a --trial 00000",
        "benchrunner show b --trial 00000",
    ]
    assert "won   t2 (basic_task), failure (max_turns) -> full" in lines
    assert "\nthe first 1 of 2; --flips 2 lists all\n" in text_of(found, flips=1)
    assert "Changed sides" not in text_of(found, flips=0)


def test_two_models_stand_in_the_header_and_conditions_in_the_rows(tmp_path: Path) -> None:
    """Two names in front of each line would leave no room for figures."""
    a = {("Llama-3.3-70B-Instruct", prompt): "FFFx" for prompt in ("optimal", "cot")}
    b = {("qwen2.5-72b-instruct", prompt): "FxFF" for prompt in ("optimal", "cot")}
    lines = text_of(compared(tmp_path, a, b)).splitlines()
    assert lines[1:3] == ["A a: Llama-3.3-70B-Instruct", "B b: qwen2.5-72b-instruct"]
    assert [line.split()[0] for line in lines[6:10]] == ["condition", "optimal", "cot", "all"]


def test_a_live_comparison_bears_no_mark(tmp_path: Path) -> None:
    """The mark is for what was made up."""
    found = compared(tmp_path, {("m", "optimal"): "Fx"}, {("m", "optimal"): "xF"}, backend="live")
    assert "SIMULATED" not in text_of(found)

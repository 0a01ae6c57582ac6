"""The `jsonl` suite: any file of questions with expected answers, one JSON object a line, one turn each.

    {"id": "q1", "prompt": "What is 17 + 25?", "expected": 42, "scorer": "number"}

Every condition takes the file's first `instances` questions in file order; prompts and difficulties are mere labels.
A task's body is its line, so a worker plays it without the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson

from benchrunner.errors import SuiteError
from benchrunner.records import ChatReply, ChatRequest, Level, Task, Trial, TrialScore
from benchrunner.suites.base import Dialogue
from benchrunner.suites.questions import Question, parse_questions, read_question
from benchrunner.suites.scorers import NAMES, UserScorer, Verdict, judge, judge_by, load_function
from benchrunner.suites.task_faults import digest_of, read_task_file, shown

VERSION: Final = "1"  # of scorers and scores
QUESTION: Final = "question"  # the one task type
WRONG_ANSWER, UNPARSABLE_ANSWER = "wrong_answer", "unparsable_answer"
PARTIAL_FROM: Final = 0.5  # the least score that is a partial success


class JsonlSuite:
    """Asks the questions of one file. The file is read by the process that asks for tasks, and only there."""

    name = "jsonl"
    task_types: tuple[str, ...] = (QUESTION,)
    prompts: tuple[str, ...] = ()
    difficulties: tuple[str, ...] = ()
    max_turns = 1

    def __init__(self, path: Path) -> None:
        """Remember where the questions stand; nothing is read yet."""
        self._path = path
        self._questions: tuple[Question, ...] | None = None

    @property
    def version(self) -> str:
        """Return the version of the scorers, and what the file holds. Reads the file."""
        return f"{VERSION}+{digest_of(read_task_file(self._path))}"

    def tasks(self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
        """Return the file's first `count` questions. Seed, phase and difficulty make no difference to them."""
        if task_type != QUESTION:
            raise SuiteError(f"the jsonl suite has one task type, {QUESTION}, not {task_type}")
        if self._questions is None:
            self._questions = parse_questions(read_task_file(self._path), str(self._path), self._folders())
        if len(self._questions) < count:
            held = len(self._questions)
            raise SuiteError(
                f"{self._path} holds {held} questions, {count} were asked for; ask for {held} instances or fewer"
            )
        return tuple(
            Task(
                task_id=question.question_id,
                task_type=QUESTION,
                difficulty=difficulty,
                body=orjson.dumps(question.row).decode(),
            )
            for question in self._questions[:count]
        )

    def expected_calls(self, *, prompt: str, task_type: str) -> float:
        """Return 1.0: a question is asked once."""
        return 1.0

    def dialogue(self, trial: Trial, task: Task, *, protocol: str = "text") -> Dialogue:
        """Return the dialogue of one trial, not yet started.

        Raises SuiteError when `task` is not of this suite, or its scorer is not to be found here.
        """
        question = read_question(orjson.loads(task.body), f"task {task.task_id}")
        scorer = question.criterion.scorer
        return _ask(question, None if scorer in NAMES else load_function(scorer, self._folders()))

    def rescore(self, trial: Trial, task: Task, transcript: str, *, protocol: str = "text") -> TrialScore:
        """Return the score derived anew: the same question judged by the reply in the transcript.

        Raises SuiteError when the transcript is not what this question and that reply leave, or the scorer is not to
        be found here.
        """
        try:
            (turn,) = orjson.loads(transcript)
            reply = ChatReply(text=turn["reply"], finish_reason=turn["finish_reason"])
        except (ValueError, TypeError, KeyError) as fault:
            raise SuiteError(f"the transcript is not one turn with a reply ({type(fault).__name__})") from fault
        dialogue = self.dialogue(trial, task, protocol=protocol)
        next(dialogue)
        try:
            dialogue.send(reply)
        except StopIteration as stop:
            score: TrialScore = stop.value
        else:
            raise AssertionError("a question is asked once")
        (replayed,) = orjson.loads(score.transcript)
        parted = [name for name in {**replayed, **turn} if replayed.get(name) != turn.get(name)]
        if parted:
            name = parted[0]
            raise SuiteError(f"turn 1 {name}: replayed {shown(replayed.get(name))}, stored {shown(turn.get(name))}")
        return score

    def _folders(self) -> tuple[Path, ...]:
        """Return where the modules of users' scorers may stand: beside the task file, and here."""
        return (self._path.absolute().parent, Path.cwd())


def load(tasks_file: Path | None) -> JsonlSuite:
    """Return the suite of one file. Raises SuiteError where none is given."""
    if tasks_file is None:
        raise SuiteError('the jsonl suite needs a task file: --tasks FILE, or tasks = "FILE" under [run]')
    return JsonlSuite(tasks_file)


def _ask(question: Question, function: UserScorer | None) -> Dialogue:
    reply = yield ChatRequest(messages=question.messages)
    # A lone surrogate, which JSON may smuggle in, does not fit the transcript.
    text = reply.text.encode("utf-8", "replace").decode()
    if function is None:
        verdict = judge(text, question.criterion)
    else:
        verdict = judge_by(function, text, question.criterion, question.row)
    return _worth(question, verdict, text, reply.finish_reason)


def _worth(question: Question, verdict: Verdict, reply: str, finish_reason: str) -> TrialScore:
    if verdict.score == 1.0:
        level, error_class = Level.FULL, ""
    else:
        level = Level.PARTIAL if verdict.score >= PARTIAL_FROM else Level.FAILURE
        error_class = UNPARSABLE_ANSWER if verdict.found is None else WRONG_ANSWER
    turn = {
        "turn": 1,
        "sent": [{"role": message.role, "content": message.content} for message in question.messages],
        "reply": reply,
        "finish_reason": finish_reason,
        "scorer": question.criterion.scorer,
        "found": verdict.found,
        "score": verdict.score,
    }
    return TrialScore(
        level=level,
        workflow_score=verdict.score,
        phase2_score=verdict.score,
        quality_score=verdict.score,
        final_score=verdict.score,
        error_class=error_class,
        turns=1,
        tool_calls=0,
        transcript=orjson.dumps([turn]).decode(),
    )

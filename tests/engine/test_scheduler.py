from __future__ import annotations

from ggufvlm.engine.scheduler import MediaStep, Scheduler, StepPlan, TokenStep
from ggufvlm.engine.sequence import PictureSegment, Segment, Sequence, Status, TextSegment

PICTURE = PictureSegment("a", 0, n_cells=42, n_pos=7)


def sequence(number: int, *segments: Segment) -> Sequence:
    return Sequence(number, segments, max_tokens=10)


def carry_out(plan: StepPlan) -> str:
    """Pretend that a step was computed; returns what it was."""
    if isinstance(plan, MediaStep):
        plan.sequence.advance_picture()
        return "picture"
    kinds = []
    for row in plan.rows:
        if row.sequence.status is Status.DECODE:
            row.sequence.n_pos += 1
            kinds.append("d")
        else:
            row.sequence.advance(1)
            kinds.append("p")
        if row.wants_logits:
            row.sequence.status, row.sequence.next_token = Status.DECODE, 1
    return "".join(kinds)


def test_a_prompt_is_computed_in_order_and_asks_for_logits_once() -> None:
    scheduler = Scheduler(n_slots=1, n_batch=3)
    one = sequence(1, TextSegment((1, 2, 3, 4)), PICTURE, TextSegment((5, 6)))
    scheduler.add(one)
    scheduler.admit(one, 0)
    plans = []
    while one.status is Status.PREFILL:
        plan = scheduler.plan()
        assert plan is not None
        plans.append(plan)
        carry_out(plan)
    assert [type(plan) for plan in plans] == [TokenStep, TokenStep, MediaStep, TokenStep]
    rows = [row for plan in plans if isinstance(plan, TokenStep) for row in plan.rows]
    assert [row.token for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.position for row in rows] == [0, 1, 2, 3, 11, 12], "the picture takes 7 positions, not 42"
    assert [row.wants_logits for row in rows] == [False] * 5 + [True]


def test_prefill_rows_never_exceed_the_batch() -> None:
    scheduler = Scheduler(n_slots=2, n_batch=4)
    for number in (1, 2):
        new = sequence(number, TextSegment(tuple(range(10))))
        scheduler.add(new)
        scheduler.admit(new, number - 1)
    plan = scheduler.plan()
    assert isinstance(plan, TokenStep)
    assert len(plan.rows) == 4


def test_answers_go_on_while_another_prompt_and_its_picture_are_read() -> None:
    scheduler = Scheduler(n_slots=2, n_batch=4)
    talking = sequence(1, TextSegment((1,)))
    scheduler.add(talking)
    scheduler.admit(talking, 0)
    carry_out(scheduler.plan() or TokenStep(()))
    asking = sequence(2, TextSegment((2, 3)), PICTURE, TextSegment((4,)))
    scheduler.add(asking)
    scheduler.admit(asking, 1)
    done = [carry_out(scheduler.plan() or TokenStep(())) for _ in range(4)]
    assert done == ["dpp", "picture", "dp", "dd"]


def test_a_slot_is_free_again_after_its_sequence() -> None:
    scheduler = Scheduler(n_slots=1, n_batch=4)
    one = sequence(1, TextSegment((1,)))
    scheduler.add(one)
    scheduler.admit(one, 0)
    assert scheduler.free_slots == ()
    scheduler.remove(one)
    assert scheduler.free_slots == (0,)
    assert scheduler.is_idle
    assert scheduler.plan() is None


def test_a_reused_prefix_is_skipped() -> None:
    one = sequence(1, TextSegment((1, 2)), PICTURE, TextSegment((3, 4, 5)))
    one.start_after([TextSegment((1, 2)), PICTURE, TextSegment((3,))])
    assert (one.cursor, one.offset, one.n_pos, one.n_cached) == (2, 1, 10, 45)
    one = sequence(1, TextSegment((1, 2)), PICTURE, TextSegment((3,)))
    one.start_after([TextSegment((1, 2)), PICTURE])
    assert (one.cursor, one.offset, one.n_pos, one.n_cached) == (2, 0, 9, 44)

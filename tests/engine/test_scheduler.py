from __future__ import annotations

from ggufvlm.config import Priority
from ggufvlm.engine.scheduler import MediaStep, Scheduler, StepPlan, TokenStep
from ggufvlm.engine.sequence import ImageSegment, Segment, Sequence, Status, TextSegment

IMAGE = ImageSegment("a", 0, n_cells=42, n_pos=7)


def make(*, n_slots: int, n_batch: int, n_ubatch: int = 512, priority: Priority = "latency") -> Scheduler:
    return Scheduler(n_slots, n_batch, n_ubatch, priority)


def sequence(number: int, *segments: Segment) -> Sequence:
    return Sequence(number, segments, max_tokens=10)


def carry_out(plan: StepPlan) -> str:
    """Pretend that a step was computed; returns what it was."""
    if isinstance(plan, MediaStep):
        plan.sequence.advance(plan.n_rows)
        return "image"
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
    scheduler = make(n_slots=1, n_batch=3)
    one = sequence(1, TextSegment((1, 2, 3, 4)), IMAGE, TextSegment((5, 6)))
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
    assert [row.position for row in rows] == [0, 1, 2, 3, 11, 12], "the image takes 7 positions, not 42"
    assert [row.wants_logits for row in rows] == [False] * 5 + [True]


def test_prefill_rows_never_exceed_the_batch() -> None:
    scheduler = make(n_slots=2, n_batch=4)
    for number in (1, 2):
        new = sequence(number, TextSegment(tuple(range(10))))
        scheduler.add(new)
        scheduler.admit(new, number - 1)
    plan = scheduler.plan()
    assert isinstance(plan, TokenStep)
    assert len(plan.rows) == 4


def test_answers_go_on_while_another_prompt_and_its_image_are_read() -> None:
    scheduler = make(n_slots=2, n_batch=4)
    talking = sequence(1, TextSegment((1,)))
    scheduler.add(talking)
    scheduler.admit(talking, 0)
    carry_out(scheduler.plan() or TokenStep(()))
    asking = sequence(2, TextSegment((2, 3)), IMAGE, TextSegment((4,)))
    scheduler.add(asking)
    scheduler.admit(asking, 1)
    done = [carry_out(scheduler.plan() or TokenStep(())) for _ in range(4)]
    assert done == ["dpp", "image", "dp", "dd"]


def test_a_slot_is_free_again_after_its_sequence() -> None:
    scheduler = make(n_slots=1, n_batch=4)
    one = sequence(1, TextSegment((1,)))
    scheduler.add(one)
    scheduler.admit(one, 0)
    assert scheduler.free_slots == ()
    scheduler.remove(one)
    assert scheduler.free_slots == (0,)
    assert scheduler.is_idle
    assert scheduler.plan() is None


def test_a_reused_prefix_is_skipped() -> None:
    one = sequence(1, TextSegment((1, 2)), IMAGE, TextSegment((3, 4, 5)))
    one.start_after([TextSegment((1, 2)), IMAGE, TextSegment((3,))])
    assert (one.cursor, one.offset, one.n_pos, one.n_cached) == (2, 1, 10, 45)
    one = sequence(1, TextSegment((1, 2)), IMAGE, TextSegment((3,)))
    one.start_after([TextSegment((1, 2)), IMAGE])
    assert (one.cursor, one.offset, one.n_pos, one.n_cached) == (2, 0, 9, 44)


def two(scheduler: Scheduler) -> tuple[Sequence, Sequence]:
    """One sequence that is answering, and one that has an image to read."""
    talking = sequence(1, TextSegment((1,)))
    scheduler.add(talking)
    scheduler.admit(talking, 0)
    carry_out(scheduler.plan() or TokenStep(()))
    asking = sequence(2, ImageSegment("b", 0, n_cells=300, n_pos=20), TextSegment((4,)))
    scheduler.add(asking)
    scheduler.admit(asking, 1)
    return talking, asking


def test_an_image_is_read_in_slices_between_the_words_of_an_answer() -> None:
    scheduler = make(n_slots=2, n_batch=512)
    _, asking = two(scheduler)
    done = []
    while asking.status is Status.PREFILL:
        plan = scheduler.plan()
        assert plan is not None
        done.append(plan.n_rows if isinstance(plan, MediaStep) else carry_out(plan))
        if isinstance(plan, MediaStep):
            assert asking.n_pos == 0, "its rows all count from its beginning"
            carry_out(plan)
    assert done == [128, "d", 128, "d", 44, "dp"]
    assert asking.n_pos == 21


def test_for_throughput_prompts_are_read_before_any_answer_goes_on() -> None:
    scheduler = make(n_slots=2, n_batch=512, priority="throughput")
    _, asking = two(scheduler)
    plans = [carry_out(scheduler.plan() or TokenStep(())) for _ in range(3)]
    assert plans == ["image", "dp", "dd"]
    assert asking.status is Status.DECODE


def test_an_answer_that_must_give_way_is_computed_again_from_what_it_said() -> None:
    scheduler = make(n_slots=1, n_batch=512)
    one = sequence(1, TextSegment((1, 2)), IMAGE, TextSegment((3,)))
    scheduler.add(one)
    scheduler.admit(one, 0)
    while one.status is Status.PREFILL:
        carry_out(scheduler.plan() or TokenStep(()))
    one.generated = [7, 8]
    scheduler.preempt(one)
    assert scheduler.waiting[0] is one
    assert scheduler.free_slots == (0,)
    assert one.segments == (TextSegment((1, 2)), IMAGE, TextSegment((3, 7, 8)))
    assert (one.n_prompt, one.n_uncomputed) == (45, 47)
    scheduler.admit(one, 0)
    one.generated.append(9)
    scheduler.preempt(one)
    assert one.segments[-1] == TextSegment((3, 7, 8, 9)), "each token once, however often it gives way"

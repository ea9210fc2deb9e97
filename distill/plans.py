"""The chain teacher, pacemaker, student in short form: what the pacemaker is made of, and who teaches the student when.

`stages_of` writes it out as stages. The teacher and the student without teachers, `ce`, are always among them: the
student's gain is measured against the latter, and it chooses the head.
"""

from collections.abc import Iterable, Mapping, Sequence

from distill.ensemble import COMMITTEES, MIXED, PACEMAKERS
from distill.methods import Method, Phase, Stage, check_method, check_positive, check_range
from hw.errors import BadInput, check_word

SCHEDULES = ("teacher", "pacemaker", "joint", "sequential", "dense")
STARTS = ("scratch", "middle", "row")
TEACHER, ALONE = "teacher", "ce"


MOST_STUDENTS = 100
"""Of a committee: each is a stage that is trained."""


class Chain(Method, frozen=True, forbid_unknown_fields=True):
    """A chain in short form; what `Method` says holds for its student, alpha and temperature for its pacemakers too.

    The defaults are the reading that comes nearest to the paper in the project's study (docs/study.md): the logits of
    the NxN teacher and of three 1xN networks, averaged, teach the student alone.

    Attributes:
        pacemaker: one of `ensemble.PACEMAKERS`, or several trained ones from the teacher downwards.
        schedule: teacher or pacemaker (alone), joint (both), sequential (the pacemaker, then the teacher) or dense (all
            networks above with weight 1, `drop` of them, but at least one, left out of each batch).
        weight: of the pacemaker, joint only; the teacher has the rest.
        share: of the epochs with the pacemaker, sequential only.
        students: 1xN networks in a `logits` or `set`, beside the teacher.
        start: the student's: scratch, middle (rows of the teacher's filters) or row (the pacemaker's 1xN part).
        alpha: share of the teachers in the loss.
        temperature: of the logits.
        name: of the student's stage; None makes one of pacemaker, schedule, method and start.
    """

    pacemaker: str | tuple[str, ...] = "logits"
    schedule: str = "pacemaker"
    weight: float = 0.5
    share: float = 0.5
    students: int = 3
    start: str = "scratch"
    alpha: float = 0.5
    temperature: float = 4.0
    name: str | None = None

    def __post_init__(self) -> None:
        for kind in self.pacemakers:
            check_word("chain: pacemaker", kind, PACEMAKERS)
            if kind in COMMITTEES and len(self.pacemakers) > 1:
                raise BadInput(
                    f"chain: pacemaker {kind} is one of several, wanted are trained ones: {', '.join(MIXED)}"
                )
        if not self.pacemakers:
            raise BadInput("chain: pacemaker is an empty list, wanted is one or more")
        check_word("chain: schedule", self.schedule, SCHEDULES)
        check_word("chain: start", self.start, STARTS)
        for name in ("weight", "share"):
            check_range(f"chain: {name}", getattr(self, name), 0.01, 0.99)
        check_range("chain: students", self.students, 1, MOST_STUDENTS)
        check_range("chain: alpha", self.alpha, 0, 1)
        check_positive("chain: temperature", self.temperature)
        check_method("chain", self)

    @property
    def pacemakers(self) -> tuple[str, ...]:
        """From the teacher downwards."""
        return (self.pacemaker,) if isinstance(self.pacemaker, str) else self.pacemaker


def stages_of(chain: Chain) -> list[Stage]:
    """The stages of a chain in the order in which they can run: teacher, students alone, pacemakers, student."""
    above = [Stage(TEACHER, "full"), Stage(ALONE, "row")]
    if chain.schedule == "teacher" and chain.start != "row":
        return [*above, _student(chain, {TEACHER: 1.0}, [TEACHER])]
    if chain.pacemakers[0] in COMMITTEES:
        alone = [ALONE, *(f"{ALONE}-{i}" for i in range(2, chain.students + 1))]
        above += [Stage(name, "row") for name in alone[1:]]
        share = 1 / (len(alone) + 1)
        members = dict.fromkeys([TEACHER, *alone], share)
        if chain.pacemakers[0] == "set":
            return [*above, _student(chain, members, list(members))]
        committee = Stage("-".join(["logits", *_count(chain)]), "ensemble", members=members)
        return [*above, committee, _student(chain, {committee.name: 1.0}, [TEACHER, committee.name])]
    trained = _trained(chain)
    names = [TEACHER, *(stage.name for stage in trained)]
    return [*above, *trained, _student(chain, {names[-1]: 1.0}, names)]


def written_out(chains: Iterable[Chain], stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages of all chains, each name once, then `stages`; one of these takes the place of a chain's namesake.

    Raises:
        BadInput: two chains mean different stages by one name.
    """
    given = {stage.name: stage for stage in stages}
    merged: dict[str, Stage] = {}
    for stage in (stage for chain in chains for stage in stages_of(chain)):
        stage = given.get(stage.name, stage)
        if merged.setdefault(stage.name, stage) != stage:
            raise BadInput(
                f"chain: two chains make the stage {stage.name} differently; give the student a name, or write the "
                f"stage among the stages"
            )
    return (*merged.values(), *(stage for stage in stages if merged.get(stage.name) is not stage))


def _trained(chain: Chain) -> list[Stage]:
    """The trained pacemakers: each learns from the one above, of a dense chain from all above."""
    above, made = [TEACHER], list[Stage]()
    for kind in chain.pacemakers:
        is_dense = chain.schedule == "dense" and made
        parts = [*(stage.kind for stage in made), kind, *(["dense"] if is_dense else [])]
        teachers = dict.fromkeys(above if is_dense else above[-1:], 1.0)
        stage = Stage(
            "-".join(parts),
            kind,
            teachers,
            alpha=chain.alpha,
            temperature=chain.temperature,
            drop=max(1, chain.drop) if is_dense else 0,
        )
        made.append(stage)
        above.append(stage.name)
    return made


def _student(chain: Chain, pacemaker: Mapping[str, float], above: Sequence[str]) -> Stage:
    """The chain's student.

    Args:
        chain: in short form.
        pacemaker: stages that it is, with weights that sum to 1.
        above: all stages that a dense chain's student learns from.
    """
    learning = {field: getattr(chain, field) for field in Method.__struct_fields__}
    teachers: dict[str, float] = {}
    phases: tuple[Phase, ...] = ()
    if chain.schedule == "sequential":
        phases = (Phase(chain.share, dict(pacemaker)), Phase(1 - chain.share, {TEACHER: 1.0}))
    elif chain.schedule == "dense":
        teachers, learning["drop"] = dict.fromkeys(above, 1.0), max(1, chain.drop)
    else:
        share = {"teacher": 0.0, "pacemaker": 1.0, "joint": chain.weight}[chain.schedule]
        teachers = _mixed(pacemaker, share)
    start, part = _start(chain, above)
    return Stage(
        chain.name or _student_name(chain, above),
        "row",
        teachers,
        alpha=chain.alpha,
        temperature=chain.temperature,
        start=start,
        start_part=part,
        phases=phases,
        **learning,
    )


def _mixed(pacemaker: Mapping[str, float], share: float) -> dict[str, float]:
    """Weights of the pacemaker's stages times `share`, the rest for the teacher; no zeros."""
    weights = {name: share * weight for name, weight in pacemaker.items()}
    weights[TEACHER] = weights.get(TEACHER, 0.0) + (1 - share)
    return {name: weight for name, weight in weights.items() if weight > 0}


def _start(chain: Chain, above: Sequence[str]) -> tuple[str | None, str]:
    """Stage and part to start from; of a committee the 1xN part is the student alone."""
    if chain.start == "scratch":
        return None, "middle"
    if chain.start == "middle":
        return TEACHER, "middle"
    return (ALONE, "middle") if chain.pacemakers[0] in COMMITTEES else (above[-1], "row")


def _student_name(chain: Chain, above: Sequence[str]) -> str:
    word = chain.method.rpartition(":")[2].lower().replace("_", "-").strip("-")
    method = [] if word == "kd" else [word]
    after = [*(["standardised"] if chain.standardise else []), *([] if chain.start == "scratch" else [chain.start])]
    if chain.schedule == "teacher":
        return "-".join([word, *after])
    own = ["set", *_count(chain)] if chain.pacemakers[0] == "set" else [above[-1].removesuffix("-dense")]
    return "-".join([*own, chain.schedule, *method, *after])


def _count(chain: Chain) -> list[str]:
    return [str(chain.students)] if chain.students > 1 else []

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from distill import ensemble, filters, networks
from hw.errors import BadInput

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def small_wrn():
    torch.manual_seed(0)
    return networks.wrn(10, 1, 10).eval()


def student(rows="skip", head="global", stem=None, n=None):
    model = small_wrn()
    plan = filters.plan_of(model, "row", stem)
    return filters.convert(model, plan, n=n, rows=rows, head=head, data_shape=(3, 16, 16))


def convolutions(model):
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}


@pytest.mark.parametrize(("depth", "width", "count"), [(40, 4, 3_043_092), (40, 2, 771_092), (16, 2, 251_412)])
def test_1xn_wrn_has_the_published_number_of_parameters(depth, width, count):
    model = networks.wrn(depth, width, 100)
    assert networks.parameters(filters.on_the_fly(model)) == count
    assert networks.parameters(filters.on_the_fly(model, rows="keep")) == count


def test_row_filters_see_one_row_and_keep_the_size():
    conv = convolutions(student())["g1.b0.conv1"]
    assert (conv.kernel_size, conv.padding, conv.stride) == ((1, 3), (0, 1), (1, 1))
    assert convolutions(student())["g2.b0.conv1"].stride == (2, 2)
    assert student()(IMAGES).shape == small_wrn()(IMAGES).shape


def test_skip_reads_every_fourth_row_only():
    model, changed = student(), IMAGES.clone()
    changed[:, :, [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15]] = 0
    assert torch.equal(model(IMAGES), model(changed))


def test_keep_strides_over_columns_only_shortcuts_included():
    model = student(rows="keep", stem="full")
    assert {conv.stride for conv in convolutions(model).values()} == {(1, 1), (1, 2)}
    assert convolutions(model)["g2.b0.shortcut"].stride == (1, 2)
    assert convolutions(model)["stem"].kernel_size == (3, 3)


def test_keep_on_every_fourth_row_is_skip():
    skip, keep = student("skip"), student("keep")
    keep.load_state_dict(skip.state_dict())
    every_fourth = IMAGES[:, :, ::4]
    torch.testing.assert_close(keep(every_fourth), skip(IMAGES))


def test_mean_averages_pairs_of_rows_before_a_strided_filter():
    model = student(rows="mean")
    conv = convolutions(model)["g2.b0.conv1"]
    x = torch.rand(1, 16, 6, 4, generator=torch.Generator().manual_seed(1))
    pairs = (x[:, :, ::2] + x[:, :, 1::2]) / 2
    expected = nn.functional.conv2d(pairs, conv.weight, stride=(1, 2), padding=(0, 1))
    torch.testing.assert_close(conv(x), expected)
    assert dict(model.named_parameters()).keys() == dict(student().named_parameters()).keys()
    assert model(IMAGES).shape == (2, 10)


@pytest.mark.parametrize(("rows", "count"), [("skip", 4), ("keep", 16), ("mean", 4)])
def test_row_head_gets_the_rows_that_reach_it(rows, count):
    model = student(rows=rows, head="rows")
    assert model.head.conv.kernel_size == (count, 1)
    assert model(IMAGES).shape == (2, 10)


def test_finding_the_rows_leaves_mode_and_statistics_alone():
    torch.manual_seed(0)
    model = networks.wrn(10, 1, 10).train()
    plan = filters.plan_of(model, "row")
    converted = filters.convert(model, plan, head="rows", data_shape=(3, 16, 16))
    assert converted.training
    assert converted.g1.b0.bn1.num_batches_tracked == 0


def test_wider_filters_keep_the_width():
    model = student(n=5)
    assert convolutions(model)["g2.b0.conv1"].kernel_size == (1, 5)
    assert convolutions(model)["g2.b0.conv1"].padding == (0, 2)
    assert model(IMAGES).shape == (2, 10)


@pytest.mark.parametrize("kind", ["split", "sum"])
def test_pacemakers_keep_strides_and_shapes(kind):
    model = small_wrn()
    pacemaker = filters.convert(model, filters.plan_of(model, kind))
    x = torch.rand(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    assert pacemaker.g2.b0.conv1(x).shape == (1, 32, 4, 4)
    assert pacemaker(IMAGES).shape == (2, 10)


def test_split_is_half_nxn_half_1xn():
    model = small_wrn()
    part = filters.convert(model, ensemble.split(model)).g2.b0.conv1
    x = torch.rand(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    assert (part.full.kernel_size, part.row.kernel_size) == ((3, 3), (1, 3))
    assert (part.full.out_channels, part.row.out_channels) == (16, 16)
    assert torch.equal(part(x), torch.cat([part.full(x), part.row(x)], 1))


def test_conversion_leaves_the_model_as_it_was():
    model = small_wrn()
    before = model(IMAGES)
    filters.convert(model, filters.plan_of(model, "row"), rows="keep")
    assert torch.equal(model(IMAGES), before)


def test_unchanged_layers_keep_their_weights():
    model = small_wrn()
    for policy in ("skip", "keep", "mean"):
        converted = filters.convert(model, filters.plan_of(model, "row"), rows=policy)
        assert torch.equal(converted.g2.b0.shortcut.weight, model.g2.b0.shortcut.weight)


@pytest.mark.parametrize("policy", ["skip", "keep", "mean"])
def test_students_export(policy):
    made = student(rows=policy, head="rows").eval()
    exported = torch.export.export(made, (IMAGES,)).module()
    assert torch.allclose(exported(IMAGES), made(IMAGES))


def test_any_cnn_goes_on_the_fly_grouped_and_dilated_too():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 7, 2, 3),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        nn.Conv2d(8, 6, 5, padding="same"),
        nn.AdaptiveAvgPool2d(1),
    )
    kernels = [conv.kernel_size for conv in convolutions(filters.on_the_fly(model)).values()]
    assert kernels == [(1, 7), (1, 3), (1, 5)]
    assert convolutions(filters.on_the_fly(model, stem="full"))["0"].kernel_size == (7, 7)
    narrow = filters.on_the_fly(model, n=3)
    assert narrow(torch.rand(1, 4, 16, 16)).shape == (1, 6, 1, 1)
    assert convolutions(narrow)["1"].groups == 8
    assert isinstance(filters.on_the_fly(nn.Conv2d(3, 3, 3)), nn.Conv2d)


def test_a_student_starts_from_the_middle_rows_and_its_row_head_from_the_dense_one():
    teacher, learner = small_wrn(), student(rows="keep", head="rows")
    ensemble.carry_over(teacher, learner)
    assert torch.equal(learner.stem.weight[:, :, 0], teacher.stem.weight[:, :, 1])
    x = torch.rand(2, 64, 16, 4)
    torch.testing.assert_close(learner.head(x), teacher.head(x))


def test_a_start_of_another_kind_is_refused():
    model = small_wrn()
    with pytest.raises(BadInput) as error:
        ensemble.carry_over(student(), model)
    assert str(error.value) == (
        "start: stem.weight is [16, 3, 1, 3] in the stage to start from, wanted is [16, 3, 3, 3]"
    )
    with pytest.raises(BadInput) as error:
        ensemble.carry_over(model, filters.convert(model, ensemble.split(model)))
    assert str(error.value) == (
        "start: the layer stem.full.weight is not in the stage to start from; start from one of the same kind"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"plan": {"stam": "row"}}, "plan: the network has no convolution 'stam'; did you mean stem?"),
        (
            {"plan": {"stem": "rows"}},
            "plan: stem: 'rows' is unknown; wanted is one of full, row, split, sum; did you mean row?",
        ),
        ({"plan": {}, "rows": "drop"}, "rows 'drop' is unknown; wanted is one of skip, keep, mean"),
        (
            {"plan": {}, "head": "rows"},
            "head: rows wants the data_shape (channels, rows, cols), to find how many rows reach the head",
        ),
        (
            {"plan": {"stem": "row"}, "n": 2},
            "stem: its 3x3 filter padded by 1 cannot become 1x2 with the same output width; choose another N",
        ),
        ({"plan": {"stem": "row"}, "n": 0}, "stem: a filter of 1x0 was asked for; N is 1 or more"),
    ],
)
def test_plans_that_cannot_be_carried_out_are_told(arguments, sentence):
    with pytest.raises(BadInput) as error:
        filters.convert(small_wrn(), **arguments)
    assert str(error.value) == sentence


def test_layers_that_cannot_be_halved_or_padded_are_told():
    with pytest.raises(BadInput) as error:
        filters.convert(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4)), {"0": "split"})
    assert str(error.value) == ("0: 4 output channels in 4 groups cannot be split; make this layer full, row or sum")
    with pytest.raises(BadInput) as error:
        filters.convert(nn.Sequential(nn.Conv2d(4, 4, 3)), {"0": "sum"})
    assert str(error.value) == "0: sum wants rows padded by half a kernel, found (0, 0); make this layer full or row"


def test_a_row_head_wants_a_global_head():
    with pytest.raises(BadInput) as error:
        filters.convert(nn.Sequential(nn.Conv2d(3, 4, 3)), {}, head="rows", data_shape=(3, 8, 8))
    assert str(error.value) == (
        "head: rows wants a network with one distill.blocks.GlobalHead, found 0; take the head global"
    )


def test_logit_ensemble_is_the_weighted_mean_and_stays_frozen():
    a, b = small_wrn(), student()
    both = ensemble.logits([a, b], [3.0, 1.0]).train()
    assert not both.training
    assert not a.training
    assert not any(parameter.requires_grad for parameter in both.parameters())
    torch.testing.assert_close(both(IMAGES), 0.75 * a(IMAGES) + 0.25 * b(IMAGES))


ORDER = ["stem", *(f"g{group}.b0.conv{i}" for group in (1, 2, 3) for i in (1, 2))]
ROWS = {
    "full": [],
    "row": ORDER,
    "alternate": ["g1.b0.conv1", "g2.b0.conv1", "g3.b0.conv1"],
    "early": ["stem", "g1.b0.conv1", "g1.b0.conv2"],
    "late": ["g2.b0.conv1", "g2.b0.conv2", "g3.b0.conv1", "g3.b0.conv2"],
}


@pytest.mark.parametrize("family", [networks.wrn, networks.resnet])
@pytest.mark.parametrize("kind", ROWS)
def test_a_plan_of_whole_layers_makes_just_these_1xn(kind, family):
    model = family(10 if family is networks.wrn else 8, 1, 10)
    plan = filters.plan_of(model, kind)
    assert [name for name, what in plan.items() if what == "row"] == ROWS[kind]
    assert list(plan) == ORDER
    made = filters.convert(model, plan)
    kernels = {name: conv.kernel_size for name, conv in convolutions(made).items()}
    assert [name for name, kernel in kernels.items() if kernel == (1, 3)] == ROWS[kind]
    assert kernels["g2.b0.shortcut"] == (1, 1)
    changed = sum(conv.weight.numel() for name, conv in convolutions(model).items() if name in ROWS[kind])
    assert networks.parameters(made) == networks.parameters(model) - changed * 2 // 3
    assert made(IMAGES).shape == (2, 10)


def test_early_and_late_make_up_the_whole_and_the_stem_may_differ():
    model = small_wrn()
    early, late = (filters.plan_of(model, kind) for kind in ("early", "late"))
    assert all({early[name], late[name]} == {"row", "full"} for name in ORDER)
    assert filters.plan_of(model, "late", "row")["stem"] == "row"


@pytest.mark.parametrize(("kind", "of_nxn"), [("split", 2 / 3), ("sum", 4 / 3)])
def test_mixed_layers_have_so_many_parameters(kind, of_nxn):
    model = small_wrn()
    made = filters.convert(model, filters.plan_of(model, kind))
    nxn = sum(convolutions(model)[name].weight.numel() for name in ORDER)
    assert networks.parameters(made) == networks.parameters(model) + round(nxn * (of_nxn - 1))
    assert {(tuple(made.get_submodule(f"{name}.row").kernel_size)) for name in ORDER} == {(1, 3)}


def test_an_unknown_plan_is_told():
    with pytest.raises(BadInput) as error:
        filters.plan_of(small_wrn(), "earlier")
    assert str(error.value) == (
        "kind 'earlier' is unknown; wanted is one of full, row, split, sum, alternate, early, late; did you mean early?"
    )


def one_row(x):
    """An image of one row, as an NxN filter padded by zeros sees it."""
    return x[:, :, :1]


@pytest.mark.parametrize("kind", ["full", "row", "split", "sum", "alternate", "early", "late"])
def test_from_middle_rows_a_student_answers_to_one_row_as_its_source_does(kind):
    model = small_wrn()
    source = filters.convert(model, filters.plan_of(model, kind)).eval()
    learner = student().eval()
    ensemble.carry_over(source, learner)
    torch.testing.assert_close(learner(one_row(IMAGES)), source(one_row(IMAGES)))


@pytest.mark.parametrize("kind", ["split", "sum", "early"])
def test_from_the_1xn_part_the_rest_stays_as_it_was(kind):
    model = small_wrn()
    source = filters.convert(model, filters.plan_of(model, kind))
    learner, before = student(), student().g2.b0.conv1.weight.clone()
    ensemble.carry_over(source, learner, "row")
    assert torch.equal(learner.head.linear.weight, source.head.linear.weight)
    assert torch.equal(learner.g2.b0.shortcut.weight, source.g2.b0.shortcut.weight)
    found = learner.g2.b0.conv1.weight
    if kind == "early":
        assert torch.equal(learner.stem.weight, source.stem.weight)
        assert torch.equal(found, before)
    elif kind == "sum":
        assert torch.equal(found, source.g2.b0.conv1.row.weight)
    else:
        assert torch.equal(found[16:], source.g2.b0.conv1.row.weight)
        assert torch.equal(found[:16], before[:16])


@pytest.mark.parametrize("kind", ["split", "sum"])
def test_a_bias_goes_with_its_channels(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    source = filters.convert(model, {"0": kind})
    for part, own in (("middle", 4), ("row", 2 if kind == "split" else 0)):
        learner = filters.on_the_fly(model)
        before = learner[0].bias.clone()
        ensemble.carry_over(source, learner, part)
        rows = source[0].row.bias
        whole = source[0].full.bias if rows is None else torch.cat((source[0].full.bias, rows))
        assert torch.equal(learner[0].bias[4 - own :], whole[4 - own :])
        assert torch.equal(learner[0].bias[: 4 - own], before[: 4 - own])


def test_starts_that_cannot_be_are_told():
    model = small_wrn()
    with pytest.raises(BadInput) as error:
        ensemble.carry_over(model, student(), "row")
    assert str(error.value) == "start_part: row wants a stage with 1xN filters to start from; take middle"
    with pytest.raises(BadInput) as error:
        ensemble.carry_over(model, student(), "rows")
    assert str(error.value) == "start_part 'rows' is unknown; wanted is one of middle, row; did you mean row?"
    with pytest.raises(BadInput) as error:
        ensemble.carry_over(model, student(n=5))
    assert str(error.value) == (
        "start: stem.weight is [16, 3, 3, 3] in the stage to start from, wanted is [16, 3, 1, 5]"
    )
    wide = filters.convert(model, filters.plan_of(model, "sum"), n=5)
    with pytest.raises(BadInput) as error:
        ensemble.carry_over(wide, student(n=5))
    assert str(error.value) == ("start: stem.weight is [16, 3, 1, 3] beside [16, 3, 1, 5], wanted is one width of both")
    split = filters.convert(model, filters.plan_of(model, "split"))
    with pytest.raises(BadInput) as error:
        ensemble.carry_over(split, small_wrn())
    assert str(error.value) == (
        "start: stem.weight is [16, 3, 1, 3] in the stage to start from, wanted is [16, 3, 3, 3]"
    )


def drawn_convolution(seed):
    """Sizes of a convolution as torch takes them, rows and columns apart; kernels above 1x1."""
    rng = np.random.default_rng(seed)
    kernel = tuple(int(k) for k in rng.choice([1, 2, 3, 4, 5, 7], 2))
    kernel = (3, 5) if kernel == (1, 1) else kernel
    groups = int(rng.choice([1, 1, 2, 4]))
    sizes = {
        "in_channels": groups * int(rng.integers(1, 3)),
        "out_channels": groups * int(rng.integers(1, 4)),
        "kernel_size": kernel,
        "stride": tuple(int(s) for s in rng.integers(1, 4, 2)),
        "dilation": tuple(int(d) for d in rng.integers(1, 3, 2)),
        "groups": groups,
        "bias": bool(rng.integers(2)),
        "padding_mode": str(rng.choice(["zeros", "reflect", "replicate", "circular"])),
    }
    half = [d * (k - 1) // 2 for d, k in zip(sizes["dilation"], kernel, strict=True)]
    return sizes | {"padding": tuple(h + int(rng.integers(0, 2)) for h in half)}


@pytest.mark.parametrize("seed", range(60))
def test_a_convolution_padded_by_half_a_kernel_keeps_its_outputs_size(seed):
    sizes = drawn_convolution(seed)
    conv = nn.Conv2d(**sizes)
    made = filters.on_the_fly(conv)
    assert made.kernel_size == (1, sizes["kernel_size"][1])
    for name in ("in_channels", "out_channels", "stride", "dilation", "groups", "padding_mode"):
        assert getattr(made, name) == getattr(conv, name)
    assert (made.bias is None) == (conv.bias is None)
    odd = (sizes["dilation"][0] * (sizes["kernel_size"][0] - 1)) % 2
    for rows in (17, 18, 19, 20):
        x = torch.rand(1, sizes["in_channels"], rows, 21)
        before, after = conv(x).shape, made(x).shape
        assert after[:2] + after[3:] == before[:2] + before[3:]
        assert after[2] - before[2] in ((-1, 0, 1) if odd else (0,))


@pytest.mark.parametrize("n", [1, 3, 5, 9])
@pytest.mark.parametrize("kernel", [(3, 3), (3, 5), (5, 1), (7, 1), (1, 7)])
def test_asymmetric_kernels_take_any_odd_n_at_the_same_size(kernel, n):
    conv = nn.Conv2d(4, 6, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
    made = filters.on_the_fly(conv, n)
    assert made.kernel_size == (1, n)
    x = torch.rand(2, 4, 11, 13)
    assert made(x).shape == conv(x).shape


@pytest.mark.parametrize("padding", [(0, 1), (1, 1), (2, 1)])
def test_a_filter_that_is_1xn_already_keeps_weights_and_padding(padding):
    conv = nn.Conv2d(3, 4, (1, 3), padding=padding)
    assert torch.equal(filters.on_the_fly(conv)(IMAGES), conv(IMAGES))


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_1xn_filter_is_its_twin_with_only_a_middle_row(padding_mode):
    conv = nn.Conv2d(3, 4, (3, 5), (2, 1), padding=(2, 4), dilation=2, padding_mode=padding_mode)
    made = filters.on_the_fly(conv)
    with torch.no_grad():
        conv.weight[:, :, [0, 2]] = 0
        made.weight.copy_(conv.weight[:, :, 1:2])
        made.bias.copy_(conv.bias)
    torch.testing.assert_close(made(IMAGES), conv(IMAGES))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_padding_same_keeps_the_size_for_even_kernels_too():
    conv = nn.Conv2d(3, 4, (4, 6), padding="same", dilation=(1, 2))
    for n in (None, 3):
        made = filters.on_the_fly(conv, n)
        assert made.kernel_size == (1, n or 6)
        assert made(IMAGES).shape == conv(IMAGES).shape


def test_unpadded_filters_keep_the_border_that_their_twin_loses():
    conv = nn.Conv2d(3, 4, 7)
    assert filters.on_the_fly(conv)(IMAGES).shape == (2, 4, 16, 10)
    assert filters.on_the_fly(conv, 3)(IMAGES).shape == (2, 4, 16, 14)
    assert filters.on_the_fly(nn.Conv2d(3, 4, 4, 4), 3)(IMAGES).shape == (2, 4, 4, 4)


class Beside(nn.Module):
    """A strided convolution beside a strided pool, concatenated."""

    def __init__(self, padding):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, 2, padding)
        self.pool = nn.MaxPool2d(3, 2, padding)

    def forward(self, x):
        y = self.stem(x)
        return torch.cat((self.down(y), self.pool(y)), 1)


def test_a_twin_whose_rows_do_not_meet_is_refused_by_the_names_of_the_filters_that_keep_them():
    shape = (3, 17, 17)
    model = Beside(0).train()
    with pytest.raises(
        BadInput,
        match=r"^network: as 1xN it cannot take an image of 3 channels, 17 rows and 17 cols \(Sizes of tensors must "
        r"match.*\); as 1xN more rows are kept by down; padding by half a kernel would do$",
    ):
        filters.on_the_fly(model, data_shape=shape)
    assert all(part.training for part in model.modules())
    made = filters.on_the_fly(Beside(1).train(), data_shape=shape)
    assert made(torch.zeros(1, *shape)).shape == (1, 8, 9, 9)
    assert all(part.training for part in made.modules())
    with pytest.raises(BadInput, match=r"^network: as 1xN it cannot take an image of 2 channels.*\)$"):
        filters.on_the_fly(Beside(1), data_shape=(2, 17, 17))


class Particular(nn.Module):
    """One that looks at the size of its maps."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.a(x)
        if y.shape[2] != 15:
            raise ValueError("15 rows are wanted")
        return y


def test_whatever_a_forward_pass_says_of_a_twin_is_told():
    with pytest.raises(BadInput, match=r"cols \(15 rows are wanted\); as 1xN more rows are kept by a; padding by half"):
        filters.on_the_fly(Particular(), data_shape=(3, 17, 17))


@pytest.mark.parametrize("shape", [8, (8, 8), (3, 8, 0), "3x8"])
def test_a_shape_of_images_that_is_none_is_told(shape):
    with pytest.raises(BadInput) as error:
        filters.on_the_fly(Beside(1), data_shape=shape)
    assert str(error.value) == f"data_shape: {shape!r} was found; (channels, rows, cols) is wanted"


@pytest.mark.parametrize("given", ["resnet18", None, nn.ReLU])
def test_what_is_no_module_is_told(given):
    with pytest.raises(BadInput) as error:
        filters.on_the_fly(given)
    assert str(error.value) == (
        f"network: a {type(given).__name__} was found; a torch.nn.Module is wanted, as Python wrote it"
    )


class Shared(nn.Module):
    """One convolution under three names, one of them inside a block that is itself used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, 2, padding=1)
        self.again = self.first
        self.blocks = nn.ModuleDict({"a": nn.Sequential(nn.Sequential(self.first), nn.ReLU())})
        self.blocks["b"] = self.blocks["a"]

    def forward(self, x):
        return self.blocks["b"](self.blocks["a"](self.again(self.first(x))))


@pytest.mark.parametrize(("rows", "size"), [("skip", (1, 1)), ("keep", (16, 1)), ("mean", (1, 1))])
def test_a_convolution_that_is_used_twice_stays_one(rows, size):
    made = filters.on_the_fly(Shared(), rows=rows)
    assert made.first is made.again is made.blocks["a"][0][0] is made.blocks["b"][0][0]
    assert made.first.kernel_size == (1, 3)
    assert networks.parameters(made) == 3 * 3 * 3 + 3
    assert made(IMAGES).shape == (2, 3, *size)


def test_other_layers_stay_as_they_are():
    model = nn.ModuleList([nn.Conv1d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.Conv2d(3, 4, 1)])
    made = filters.on_the_fly(model)
    assert [type(part) for part in made] == [type(part) for part in model]
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), model.parameters(), strict=True))


class Scaled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Named(nn.Conv2d):
    """Other defaults and nothing else."""

    def __init__(self):
        super().__init__(3, 4, 3, padding=1)


def test_a_subclass_with_other_defaults_only_is_a_convolution():
    assert filters.on_the_fly(Named()).kernel_size == (1, 3)


COMPUTED = "its weight is computed from other tensors; make weight norm or pruning permanent"


@pytest.mark.parametrize(
    ("conv", "sentence"),
    [
        (Scaled(3, 4, 3), "it is a Scaled, which cannot be made 1xN; put an nn.Conv2d in its place"),
        (nn.LazyConv2d(4, 3), "it is a LazyConv2d, which cannot be made 1xN; show it an image first"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), COMPUTED),
        (prune.l1_unstructured(nn.Conv2d(3, 4, 3), "weight", 2), COMPUTED),
    ],
    ids=["own forward", "lazy", "weight norm", "pruned"],
)
def test_what_would_lose_something_is_refused(conv, sentence):
    with pytest.raises(BadInput) as error:
        filters.on_the_fly(nn.Sequential(conv))
    assert str(error.value) == f"0: {sentence}"

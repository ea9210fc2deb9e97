import pytest
import torch
from torch import nn

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
    filters.carry_over(teacher, learner)
    assert torch.equal(learner.stem.weight[:, :, 0], teacher.stem.weight[:, :, 1])
    x = torch.rand(2, 64, 16, 4)
    torch.testing.assert_close(learner.head(x), teacher.head(x))


def test_a_start_of_another_kind_is_refused():
    model = small_wrn()
    with pytest.raises(BadInput) as error:
        filters.carry_over(student(), model)
    assert str(error.value) == (
        "start: stem.weight is [16, 3, 1, 3] in the stage to start from, wanted is [16, 3, 3, 3]"
    )
    with pytest.raises(BadInput) as error:
        filters.carry_over(model, filters.convert(model, ensemble.split(model)))
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
        "head: rows wants a network with one distill.networks.GlobalHead, found 0; take the head global"
    )


def test_logit_ensemble_is_the_weighted_mean_and_stays_frozen():
    a, b = small_wrn(), student()
    both = ensemble.logits([a, b], [3.0, 1.0]).train()
    assert not both.training
    assert not a.training
    assert not any(parameter.requires_grad for parameter in both.parameters())
    torch.testing.assert_close(both(IMAGES), 0.75 * a(IMAGES) + 0.25 * b(IMAGES))

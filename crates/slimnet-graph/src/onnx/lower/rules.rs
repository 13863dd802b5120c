//! What changed between versions of an operator apart from attributes that became inputs.

use super::{Draft, Input};
use crate::graph::{Dim, Graph, Node, NodeId, ValueId};
use crate::onnx::lift::is_last;
use crate::ops::Op;
use crate::ops::attribute::Attributes;
use crate::ops::convolution::AutoPad;
use crate::ops::index::ScatterReduction;
use crate::ops::layout::PadMode;
use crate::ops::normalization::SoftmaxKind;
use crate::ops::vision::{AspectRatioPolicy, CoordinateMode, NearestMode, Resize, ResizeMode, RoiCoordinateMode};
use crate::tensor::Tensor;

type Rule = Result<(), String>;

pub(super) fn apply(draft: &mut Draft<'_>, opset: i64) -> Rule {
    if opset < 11 {
        count_axes_from_the_front(draft)?;
    }
    let op = draft.node.op.clone();
    match &op {
        Op::Softmax(kind, softmax) if opset < 13 => alone(draft, *kind, softmax.axis, opset),
        Op::Reshape(_) if opset < 13 => {
            softmax_of_flattened(draft);
            Ok(())
        }
        Op::Gradient(_) => {
            Err("a gradient exists only while a network is trained; take the training nodes away".into())
        }
        Op::BatchNormalization(_) if draft.node.outputs().len() > 3 => {
            Err("statistics of the batch are kept only while a network is trained; take the training nodes away".into())
        }
        Op::BatchNormalization(_) if opset < 14 && draft.node.outputs().len() > 1 => {
            Err("training outputs differ before operator set 14".into())
        }
        Op::GroupNormalization(_) if opset < 21 => group_normalization(draft),
        Op::Dropout(_) if opset < 12 => dropout(draft, opset),
        Op::Variadic(_) if opset < 8 => same_shapes(draft),
        Op::Gemm(_) if opset < 11 && !draft.has(2) => no_addend(draft),
        Op::Split(split) => parts(draft, split.num_outputs, opset),
        Op::Slice(_) if opset < 10 => unit_steps(draft),
        Op::Pad(pad) if opset < 19 && pad.mode == PadMode::Wrap => {
            Err("mode \"wrap\" came with operator set 19".into())
        }
        Op::ConvTranspose(conv) if opset < 11 => {
            let computed =
                !conv.output_shape.is_empty() || matches!(conv.auto_pad, AutoPad::SameLower | AutoPad::SameUpper);
            if computed { Err("computed padding differs before operator set 11".into()) } else { Ok(()) }
        }
        Op::ScatterElements(scatter) => scatter_elements(draft, scatter.reduction, opset),
        Op::ScatterNd(scatter) if opset < 18 => reduction(scatter.reduction),
        Op::Resize(resize) => lower_resize(draft, resize, opset),
        Op::RoiAlign(align) if opset < 16 => {
            draft.attributes.discard("coordinate_transformation_mode");
            let same = align.coordinate_transformation_mode == RoiCoordinateMode::OutputHalfPixel;
            if same { Ok(()) } else { Err("coordinates are those of output_half_pixel before operator set 16".into()) }
        }
        Op::GridSample(sample) if opset < 20 => {
            let mode = match sample.mode {
                ResizeMode::Linear => "bilinear",
                ResizeMode::Cubic => "bicubic",
                ResizeMode::Nearest => "nearest",
            };
            draft.attributes.put("mode", &mode.to_owned());
            let flat = draft.shape(0).is_none_or(|shape| shape.len() == 4);
            if flat { Ok(()) } else { Err("only images of two spatial axes before operator set 20".into()) }
        }
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) if opset < 13 => {
            let many = |shape: &[Dim]| shape.iter().any(|dim| dim.known().is_some_and(|length| length != 1));
            let several = draft.shape(1).is_some_and(many);
            draft.attributes.discard("axis");
            if several { Err("only one scale for all before operator set 13".into()) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Most axes that count from the back came with operator set 11.
fn count_axes_from_the_front(draft: &mut Draft<'_>) -> Rule {
    let rank = draft.shape(0).map(|shape| shape.len() as i64);
    let front = |axis: i64, rank: Option<i64>| match rank {
        _ if axis >= 0 => Ok(axis),
        Some(rank) if axis + rank >= 0 => Ok(axis + rank),
        _ => Err(format!("axis {axis} counts from the back of unknown many axes")),
    };
    let single = ["ArgMax", "ArgMin", "Compress", "Concat", "Flatten", "Split"];
    if single.contains(&draft.op_type.as_str())
        && let Ok(Some(axis)) = draft.attributes.clone().take::<i64>("axis")
    {
        draft.attributes.put("axis", &front(axis, rank)?);
    }
    let slot = match draft.op_type.as_str() {
        "Squeeze" | "Unsqueeze" => 1,
        "Slice" => 3,
        name if name.starts_with("Reduce") => 1,
        _ => return Ok(()),
    };
    let Some(axes) = draft.data(slot).and_then(|axes| axes.to_i64s().ok()) else { return Ok(()) };
    if axes.iter().all(|&axis| axis >= 0) {
        return Ok(());
    }
    let rank = if draft.op_type == "Unsqueeze" { rank.map(|rank| rank + axes.len() as i64) } else { rank };
    let axes = axes.into_iter().map(|axis| front(axis, rank)).collect::<Result<_, _>>()?;
    draft.set_input(slot, Input::Constant("axes", Tensor::vector::<i64>(axes)));
    Ok(())
}

/// A softmax over one axis: in older operator sets it takes all later axes too.
fn alone(draft: &mut Draft<'_>, kind: SoftmaxKind, axis: i64, opset: i64) -> Rule {
    draft.attributes.put("axis", &axis);
    let shape = draft.shape(0);
    if axis == -1 && opset < 11 {
        let source = draft.node.input(0).and_then(|input| draft.graph.value(input).producer());
        let flattened = source.is_some_and(|source| matches!(draft.graph.node(source).op, Op::Flatten(_)));
        let Some(rank) = shape.map(<[Dim]>::len).or(flattened.then_some(2)) else {
            return Err("the number of axes is not known".into());
        };
        draft.attributes.put("axis", &(rank as i64 - 1));
        return Ok(());
    }
    if axis == -1 || shape.is_some_and(|shape| is_last(shape, axis)) {
        return Ok(());
    }
    Err(format!("{} before operator set 13 also takes the axes after {axis}", kind.name()))
}

/// Recognises what lifting makes of an old softmax over several axes: `Reshape(Softmax(Flatten(x)), Shape(x))`.
fn softmax_of_flattened(draft: &mut Draft<'_>) {
    let Some(found) = find_flattened(draft.graph, draft.node) else { return };
    let mut attributes = Attributes::default();
    attributes.put("axis", &found.axis);
    draft.op_type = found.kind.name().into();
    draft.attributes = attributes;
    draft.inputs = vec![Input::Value(found.input)];
    draft.swallowed = found.nodes;
}

struct Flattened {
    kind: SoftmaxKind,
    axis: i64,
    input: ValueId,
    nodes: Vec<NodeId>,
}

fn find_flattened(graph: &Graph, reshape: &Node) -> Option<Flattened> {
    let inner = |value: ValueId| {
        let only = graph.value(value).readers().len() == 1 && !graph.outputs().contains(&value);
        graph.value(value).producer().filter(|_| only)
    };
    let (softmax, shape) = (inner(reshape.input(0)?)?, inner(reshape.input(1)?)?);
    let flatten = inner(graph.node(softmax).input(0)?)?;
    let Op::Softmax(kind, settings) = &graph.node(softmax).op else { return None };
    let Op::Flatten(flattening) = &graph.node(flatten).op else { return None };
    let Op::Shape(whole) = &graph.node(shape).op else { return None };
    let input = graph.node(flatten).input(0)?;
    let same = graph.node(shape).input(0) == Some(input);
    (same && whole.start == 0 && whole.end.is_none() && matches!(settings.axis, -1 | 1)).then(|| Flattened {
        kind: *kind,
        axis: flattening.axis,
        input,
        nodes: vec![flatten, softmax, shape],
    })
}

/// Scale and bias that are the same in each group become one for each group.
fn group_normalization(draft: &mut Draft<'_>) -> Rule {
    let groups = draft.attributes.clone().take::<i64>("num_groups").ok().flatten().unwrap_or(0) as usize;
    draft.attributes.discard("stash_type");
    for (slot, name) in [(1, "scale"), (2, "bias")] {
        let per_group = draft.data(slot).and_then(|data| {
            let (width, patterns) = data.to_patterns()?;
            let size = data.len().checked_div(groups).filter(|&size| size > 0 && size * groups == data.len())?;
            let elements: Vec<&[u8]> = patterns.chunks_exact(width).collect();
            let firsts: Vec<&[u8]> = elements.iter().step_by(size).copied().collect();
            let same = elements.chunks(size).all(|group| group.iter().all(|element| element == &group[0]));
            same.then(|| Tensor::from_patterns(data.element_type(), vec![groups], &firsts.concat()).ok())?
        });
        let Some(data) = per_group else { return Err(format!("{name} differs within a group")) };
        draft.set_input(slot, Input::Constant(name, data));
    }
    Ok(())
}

fn dropout(draft: &mut Draft<'_>, opset: i64) -> Rule {
    let training = draft.data(2).is_none_or(|data| data.to_i64s().is_ok_and(|mode| mode.contains(&1)));
    if draft.has(2) && training {
        return Err("training_mode came with operator set 12".into());
    }
    draft.inputs.truncate(2);
    if opset < 10 && draft.node.output(1).is_some() {
        return Err("the mask has another type before operator set 10".into());
    }
    Ok(())
}

/// Before operator set 8 these did not broadcast.
fn same_shapes(draft: &mut Draft<'_>) -> Rule {
    let shapes: Vec<_> = (0..draft.inputs.len()).map(|slot| draft.shape(slot)).collect();
    let same = shapes.iter().all(|shape| shape.is_some() && *shape == shapes[0]);
    if same { Ok(()) } else { Err("it does not broadcast before operator set 8".into()) }
}

/// Before operator set 11 the addend was required.
fn no_addend(draft: &mut Draft<'_>) -> Rule {
    let Some(element_type) = draft.element_type(0) else { return Err("the element type is not known".into()) };
    let zero = Tensor::from_f64s(element_type, vec![1], vec![0.0]).map_err(|error| error.to_string())?;
    draft.set_input(2, Input::Constant("zero", zero));
    Ok(())
}

/// From operator set 18 on the number of equal parts is an attribute, before it was that of the outputs.
fn parts(draft: &mut Draft<'_>, num_outputs: Option<i64>, opset: i64) -> Rule {
    if draft.has(1) {
        return Ok(());
    }
    let outputs = draft.node.outputs().len() as i64;
    if opset >= 18 {
        draft.attributes.put("num_outputs", &num_outputs.unwrap_or(outputs));
        return Ok(());
    }
    draft.attributes.discard("num_outputs");
    let Some(number) = num_outputs else { return Ok(()) };
    let axis = draft.attributes.clone().take::<i64>("axis").ok().flatten().unwrap_or(0);
    let length = draft.shape(0).and_then(|shape| {
        let axis = if axis < 0 { axis.checked_add(shape.len() as i64)? } else { axis };
        shape.get(usize::try_from(axis).ok()?)?.known()
    });
    match length {
        Some(length) if number == outputs && number > 0 && length.is_multiple_of(number as usize) => Ok(()),
        _ => Err("parts that may be unequal came with operator set 18".into()),
    }
}

fn unit_steps(draft: &mut Draft<'_>) -> Rule {
    let unit =
        draft.data(4).is_some_and(|steps| steps.to_i64s().is_ok_and(|steps| steps.iter().all(|&step| step == 1)));
    if draft.has(4) && !unit {
        return Err("steps came with operator set 10".into());
    }
    draft.inputs.truncate(4);
    Ok(())
}

fn scatter_elements(draft: &mut Draft<'_>, joined: ScatterReduction, opset: i64) -> Rule {
    if opset < 11 {
        draft.op_type = "Scatter".into();
    }
    if opset < 18 { reduction(joined) } else { Ok(()) }
}

fn reduction(reduction: ScatterReduction) -> Rule {
    match reduction {
        ScatterReduction::Max | ScatterReduction::Min => Err("this reduction came with operator set 18".into()),
        _ => Ok(()),
    }
}

fn lower_resize(draft: &mut Draft<'_>, resize: &Resize, opset: i64) -> Rule {
    if resize.coordinate_transformation_mode == CoordinateMode::HalfPixelSymmetric && opset < 19 {
        return Err("half_pixel_symmetric came with operator set 19".into());
    }
    match opset {
        13.. => Ok(()),
        11..13 => {
            for slot in [1, 2] {
                if !draft.has(slot) {
                    let made = || Input::Constant("empty", Tensor::vector::<f32>(Vec::new()));
                    draft.set_input(slot, draft.sketch.empty_vector.map_or_else(made, Input::Value));
                }
            }
            Ok(())
        }
        _ => asymmetric(draft, resize, opset),
    }
}

/// Upsample, and Resize before operator set 11: one way of choosing places only.
fn asymmetric(draft: &mut Draft<'_>, resize: &Resize, opset: i64) -> Rule {
    let usual = Resize {
        antialias: false,
        axes: None,
        coordinate_transformation_mode: CoordinateMode::Asymmetric,
        exclude_outside: false,
        keep_aspect_ratio_policy: AspectRatioPolicy::Stretch,
        ..resize.clone()
    };
    if *resize != usual || resize.mode == ResizeMode::Cubic || draft.has(3) || !draft.has(2) {
        return Err("before operator set 11 images are resized by scales and with asymmetric coordinates".into());
    }
    let scales = draft.data(2).and_then(|scales| scales.to_f64s().ok());
    let grows = scales.as_ref().is_some_and(|scales| scales.iter().all(|&scale| scale >= 1.0));
    let shrinks = scales.as_ref().is_some_and(|scales| scales.iter().all(|&scale| scale <= 1.0));
    let rounds = match (resize.mode, resize.nearest_mode) {
        (ResizeMode::Linear, _) => true,
        (_, NearestMode::Floor) => grows || opset == 9,
        (_, NearestMode::Ceil) => shrinks && opset == 10,
        _ => false,
    };
    if !rounds || (opset < 9 && !grows) {
        return Err("before operator set 11 nearest is down where images grow and up where they shrink".into());
    }
    let mut attributes = Attributes::default();
    attributes.put("mode", &resize.mode);
    draft.attributes = attributes;
    draft.op_type = if opset < 10 { "Upsample" } else { "Resize" }.into();
    draft.inputs.remove(1);
    Ok(())
}

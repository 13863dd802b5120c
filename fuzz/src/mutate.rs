//! Mutations of networks: of their messages, and of their bytes.

use slimnet_graph::onnx::proto::attribute_proto::AttributeType;
use slimnet_graph::onnx::proto::tensor_proto::DataLocation;
use slimnet_graph::onnx::proto::tensor_shape_proto::dimension;
use slimnet_graph::onnx::proto::type_proto;
use slimnet_graph::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, TypeProto,
    ValueInfoProto,
};
use slimnet_graph::ops::Op;

use crate::dictionary::{ATTRIBUTES, DIM_NAMES, DOMAINS, FLOATS, INTEGERS, OTHER_OPERATORS, TEXTS};
use crate::encode;
use crate::random::Random;
use crate::seeds::make;

/// The bytes of a mutated seed.
pub fn mutated(seeds: &[ModelProto], random: &mut Random) -> Vec<u8> {
    let Some(mut model) = random.pick(seeds).cloned() else { return Vec::new() };
    for _ in 0..random.below(5) {
        if let Some(other) = random.pick(seeds) {
            mutate_model(&mut model, other, random);
        }
    }
    let mut bytes = encode(&model);
    if random.once_in(6) {
        for _ in 0..=random.below(4) {
            mutate_bytes(&mut bytes, random);
        }
    }
    bytes
}

fn mutate_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let place = random.below(bytes.len());
    match random.below(6) {
        0 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = random.next() as u8),
        2 => bytes.truncate(place),
        3 => bytes.insert(place, random.next() as u8),
        4 => {
            bytes.drain(place..bytes.len().min(place + 1 + random.below(8)));
        }
        _ => {
            let piece = bytes[place..bytes.len().min(place + 1 + random.below(32))].to_vec();
            let target = random.below(bytes.len());
            bytes.splice(target..target, piece);
        }
    }
}

fn mutate_model(model: &mut ModelProto, other: &ModelProto, random: &mut Random) {
    match random.below(12) {
        0 => {
            if let Some(import) = random.pick_mut(&mut model.opset_import) {
                import.version = Some(5 + random.below(26) as i64);
            }
        }
        1 => match random.below(6) {
            0 => model.opset_import.push(make::import(domain(random), random.below(30) as i64)),
            1 => model.opset_import.clear(),
            2 => model.ir_version = Some(integer(random)),
            3 => model.graph = None,
            4 => model.functions.push(FunctionProto {
                name: Some(operator(random)),
                domain: Some(domain(random).into()),
                ..FunctionProto::default()
            }),
            _ => model.metadata_props.push(make::entry(text(random), text(random))),
        },
        _ => {
            if let (Some(graph), Some(other)) = (&mut model.graph, &other.graph) {
                mutate_graph(graph, other, random);
            }
        }
    }
}

fn mutate_graph(graph: &mut GraphProto, other: &GraphProto, random: &mut Random) {
    match random.below(20) {
        0..=5 => {
            let names = names(graph);
            if let Some(node) = random.pick_mut(&mut graph.node) {
                mutate_node(node, &names, random);
            }
        }
        6..=8 => {
            if let Some(tensor) = random.pick_mut(&mut graph.initializer) {
                mutate_tensor(tensor, random);
            }
        }
        9..=11 => {
            let list = match random.below(3) {
                0 => &mut graph.input,
                1 => &mut graph.output,
                _ => &mut graph.value_info,
            };
            if let Some(info) = random.pick_mut(list) {
                mutate_info(info, random);
            }
        }
        12 => mutate_order(graph, random),
        13 => grow(graph, random),
        14 => {
            // Nodes and data of another network; names that both have join them or clash.
            graph.node.extend(random.pick(&other.node).cloned());
            graph.initializer.extend(random.pick(&other.initializer).cloned());
        }
        15 => rename(graph, random),
        16 => wrap(graph, random),
        17 => {
            if let Some(tensor) = graph.initializer.pop() {
                graph.sparse_initializer.push(sparse(tensor, random));
            } else if let Some(tensor) = random.pick_mut(&mut graph.sparse_initializer) {
                mutate_sparse(tensor, random);
            }
        }
        18 => {
            let tensor = random.pick(&graph.initializer).map(|tensor| make::untyped(tensor.name()));
            graph.input.extend(tensor);
        }
        _ => {
            let name = random.pick(&names(graph)).cloned().unwrap_or_default();
            let made = make::info(&name, 1 + random.below(29) as i32, &["2", "3"]);
            if random.once_in(2) { graph.value_info.push(made) } else { graph.output.push(made) }
        }
    }
}

fn names(graph: &GraphProto) -> Vec<String> {
    let nodes = graph.node.iter().flat_map(|node| node.output.iter().cloned());
    let tensors = graph.initializer.iter().map(|tensor| tensor.name().to_owned());
    nodes.chain(tensors).chain(graph.input.iter().map(|input| input.name().to_owned())).collect()
}

fn integer(random: &mut Random) -> i64 {
    random.pick(INTEGERS).copied().unwrap_or(0)
}

fn small(random: &mut Random) -> i64 {
    if random.once_in(5) { integer(random) } else { random.below(5) as i64 - 1 }
}

fn text(random: &mut Random) -> &'static str {
    random.pick(TEXTS).copied().unwrap_or("")
}

fn domain(random: &mut Random) -> &'static str {
    random.pick(DOMAINS).copied().unwrap_or("")
}

fn operator(random: &mut Random) -> String {
    let known = Op::known_types();
    let place = random.below(known.len() + OTHER_OPERATORS.len());
    known.get(place).or_else(|| OTHER_OPERATORS.get(place - known.len())).map_or(String::new(), |&name| name.into())
}

fn some(random: &mut Random, mut make: impl FnMut(&mut Random) -> i64) -> Vec<i64> {
    (0..random.below(5)).map(|_| make(random)).collect()
}

fn mutate_node(node: &mut NodeProto, names: &[String], random: &mut Random) {
    let any_name = |random: &mut Random| random.pick(names).cloned().unwrap_or_default();
    match random.below(10) {
        0 => node.op_type = Some(operator(random)),
        1 => node.domain = Some(domain(random).into()),
        2 => {
            let name = if random.once_in(4) { String::new() } else { any_name(random) };
            random.pick_mut(&mut node.input).into_iter().for_each(|input| input.clone_from(&name));
        }
        3 => node.input.push(any_name(random)),
        4 => {
            if random.once_in(2) {
                node.input.pop();
            } else {
                node.output.pop();
            }
        }
        5 => node.output.push(format!("out{}", random.below(4))),
        6 => node.attribute.push(attribute(random)),
        7 if !node.attribute.is_empty() => {
            node.attribute.remove(random.below(node.attribute.len()));
        }
        _ => match random.pick_mut(&mut node.attribute) {
            Some(attribute) => mutate_attribute(attribute, random),
            None => node.attribute.push(attribute(random)),
        },
    }
}

fn attribute(random: &mut Random) -> AttributeProto {
    let name = random.pick(ATTRIBUTES).copied().unwrap_or("");
    match random.below(7) {
        0 | 1 => make::int(name, small(random)),
        2 | 3 => make::ints(name, &some(random, small)),
        4 => make::float(name, random.pick(FLOATS).copied().unwrap_or(0.0)),
        5 => make::floats(name, &[random.pick(FLOATS).copied().unwrap_or(0.0); 2]),
        _ => make::string(name, text(random)),
    }
}

fn mutate_attribute(attribute: &mut AttributeProto, random: &mut Random) {
    match random.below(8) {
        0 => attribute.i = Some(integer(random)),
        1 => attribute.ints = some(random, small),
        2 => {
            let value = integer(random);
            random.pick_mut(&mut attribute.ints).into_iter().for_each(|number| *number = value);
        }
        3 => attribute.f = random.pick(FLOATS).copied(),
        4 => attribute.s = Some(text(random).into()),
        5 => attribute.r#type = Some(random.below(16) as i32),
        6 => match (&mut attribute.t, &mut attribute.g, &mut attribute.sparse_tensor) {
            (Some(tensor), ..) => mutate_tensor(tensor, random),
            (_, Some(graph), _) => {
                let other = graph.clone();
                mutate_graph(graph, &other, random);
            }
            (.., Some(sparse)) => mutate_sparse(sparse, random),
            _ => {
                let tensor = make::floats_tensor("", &[2], &[1.0, 2.0]);
                let sparse = Some(Box::new(sparse(tensor, random)));
                attribute.sparse_tensor = sparse;
                attribute.r#type = Some(AttributeType::SparseTensor.into());
            }
        },
        _ => attribute.name = random.pick(ATTRIBUTES).map(|&name| name.to_owned()),
    }
}

fn mutate_tensor(tensor: &mut TensorProto, random: &mut Random) {
    match random.below(9) {
        0 => tensor.dims = some(random, small),
        1 => {
            let value = integer(random);
            random.pick_mut(&mut tensor.dims).into_iter().for_each(|dim| *dim = value);
        }
        2 => tensor.data_type = Some(random.below(30) as i32),
        3 => {
            let length = random.below(40);
            tensor.raw_data = Some(vec![random.next() as u8; length].into());
        }
        4 => {
            tensor.raw_data = None;
            match random.below(5) {
                0 => tensor.float_data = vec![1.0; random.below(5)],
                1 => tensor.int32_data = vec![random.next() as i32; random.below(5)],
                2 => tensor.int64_data = some(random, integer),
                3 => tensor.string_data = vec![b"text".to_vec(); random.below(5)],
                _ => (tensor.double_data, tensor.uint64_data) = (vec![1.0; random.below(3)], vec![9; random.below(3)]),
            }
        }
        5 => tensor.name = Some(text(random).into()),
        6 => {
            let location = ["data", "../data", "/etc/hostname", "", ".", "missing"][random.below(6)];
            tensor.raw_data = None;
            tensor.data_location = Some(DataLocation::External.into());
            tensor.external_data = vec![
                make::entry("location", location),
                make::entry("offset", ["0", "8", "-1", "99", "18446744073709551615", ""][random.below(6)]),
                make::entry("length", ["24", "8", "0", "x", "18446744073709551615"][random.below(5)]),
            ];
        }
        7 => tensor.segment = Some(slimnet_graph::onnx::proto::tensor_proto::Segment::default()),
        _ => {
            // Whole elements of small numbers: other shapes, axes and indices.
            let numbers = some(random, small);
            *tensor = make::ints_tensor(tensor.name(), &[numbers.len() as i64], &numbers);
        }
    }
}

fn sparse(tensor: TensorProto, random: &mut Random) -> SparseTensorProto {
    let indices = some(random, small);
    SparseTensorProto {
        dims: tensor.dims.clone(),
        indices: Some(make::ints_tensor("", &[indices.len() as i64], &indices)),
        values: Some(tensor),
    }
}

fn mutate_sparse(sparse: &mut SparseTensorProto, random: &mut Random) {
    match (random.below(3), &mut sparse.values, &mut sparse.indices) {
        (0, Some(tensor), _) | (1, _, Some(tensor)) => mutate_tensor(tensor, random),
        _ => sparse.dims = some(random, small),
    }
}

fn mutate_info(info: &mut ValueInfoProto, random: &mut Random) {
    let tensor = match &mut info.r#type {
        Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), .. }) => tensor,
        _ => {
            info.r#type = make::info("", random.below(30) as i32, &["N", "2"]).r#type;
            return;
        }
    };
    match (random.below(7), &mut tensor.shape) {
        (0, _) => tensor.elem_type = Some(random.below(30) as i32),
        (1, _) => tensor.shape = None,
        (2, Some(shape)) => {
            shape.dim.pop();
        }
        (3, Some(shape)) => shape.dim.extend(shape.dim.first().cloned()),
        (4 | 5, Some(shape)) => {
            if let Some(dim) = random.pick_mut(&mut shape.dim) {
                dim.value = match random.below(3) {
                    0 => Some(dimension::Value::DimParam(random.pick(DIM_NAMES).map_or("", |name| *name).into())),
                    1 => Some(dimension::Value::DimValue(small(random))),
                    _ => None,
                };
                if random.once_in(8) {
                    dim.denotation = Some("DATA_BATCH".into());
                }
            }
        }
        _ => {
            let sequence = type_proto::Sequence { elem_type: info.r#type.take().map(Box::new) };
            let value = Some(type_proto::Value::SequenceType(Box::new(sequence)));
            info.r#type = Some(TypeProto { value, ..TypeProto::default() });
        }
    }
}

fn mutate_order(graph: &mut GraphProto, random: &mut Random) {
    let count = graph.node.len();
    if count == 0 {
        return;
    }
    match random.below(4) {
        0 => graph.node.swap(random.below(count), random.below(count)),
        1 => {
            graph.node.remove(random.below(count));
        }
        2 => {
            let mut copy = graph.node[random.below(count)].clone();
            copy.output.iter_mut().for_each(|name| name.push('2'));
            graph.node.push(copy);
        }
        _ => {
            graph.output.pop();
        }
    }
}

/// Appends a node of any operator that reads what there is.
fn grow(graph: &mut GraphProto, random: &mut Random) {
    let names = names(graph);
    let inputs: Vec<String> = (0..random.below(5)).filter_map(|_| random.pick(&names).cloned()).collect();
    let output = format!("grown{}", graph.node.len());
    let attribute = (0..random.below(3)).map(|_| attribute(random)).collect();
    graph.node.push(NodeProto {
        op_type: Some(operator(random)),
        input: inputs,
        output: vec![output.clone()],
        attribute,
        ..NodeProto::default()
    });
    if random.once_in(2) {
        graph.output.push(make::untyped(&output));
    }
}

fn rename(graph: &mut GraphProto, random: &mut Random) {
    let names = names(graph);
    let (Some(old), Some(new)) = (random.pick(&names), random.pick(&names)) else { return };
    let new = if random.once_in(2) { format!("{new}_shape") } else { new.clone() };
    for node in &mut graph.node {
        node.input
            .iter_mut()
            .chain(&mut node.output)
            .filter(|name| *name == old)
            .for_each(|name| name.clone_from(&new));
    }
    for info in graph.input.iter_mut().chain(&mut graph.output).filter(|info| info.name() == old) {
        info.name = Some(new.clone());
    }
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.name() == old) {
        tensor.name = Some(new.clone());
    }
}

/// Moves a node into a branch of an `If`.
fn wrap(graph: &mut GraphProto, random: &mut Random) {
    let flag = random.pick(&names(graph)).cloned().unwrap_or_default();
    let Some(node) = random.pick_mut(&mut graph.node) else { return };
    let outputs: Vec<&str> = node.output.iter().map(String::as_str).collect();
    let inner = make::graph(vec![node.clone()], vec![], vec![], &outputs);
    let mut choice = make::node("If", &[&flag], &outputs);
    choice.attribute = vec![make::graph_attribute("then_branch", inner)];
    *node = choice;
}

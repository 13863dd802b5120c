//! Random small networks with planted dead, constant and unread channels: simplifying never changes what they compute.

mod simplify_common;

use simplify_common::{Net, op, op_of, op_with, parameters, simplified};
use slimnet_graph::simplify::{Change, SimplifyOptions};
use slimnet_graph::zoo::random::Stream;
use slimnet_graph::zoo::{ZooOptions, build};
use slimnet_graph::{ElementType, Graph, Tensor, ValueId};

/// Draws numbers one after the other.
struct Draw {
    stream: Stream,
    next: u64,
}

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.next += 1;
        self.stream.below(self.next, bound)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A feature map: value, channels, height and width.
#[derive(Clone, Copy)]
struct Map {
    value: ValueId,
    channels: usize,
    size: usize,
}

struct Generator {
    net: Net,
    draw: Draw,
}

impl Generator {
    /// Random weights of which some slices along the first two axes vanish.
    fn weight(&mut self, shape: &[usize]) -> ValueId {
        let mut values = self.net.random(shape).to_f64s().unwrap();
        plant(&mut self.draw, shape, &mut values, 20);
        self.add(shape, &values)
    }

    fn add(&mut self, shape: &[usize], values: &[f64]) -> ValueId {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        self.net.graph.add_constant("w", Tensor::from_values(shape.to_vec(), values).unwrap())
    }

    /// A vector with zeros in it.
    fn vector(&mut self, length: usize, spread: f64, centre: f64) -> ValueId {
        let data = self.net.random(&[length]).to_f64s().unwrap();
        let values: Vec<f64> =
            data.iter().map(|value| if self.draw.chance(25) { 0.0 } else { value * spread + centre }).collect();
        self.add(&[length], &values)
    }

    fn conv(&mut self, map: Map, channels: usize) -> Map {
        let kernel = [1, 1, 3][self.draw.below(3) as usize];
        let pad = if kernel == 3 { self.draw.below(2) as usize } else { 0 };
        if map.size + 2 * pad < kernel {
            return map;
        }
        let groups =
            if map.channels.is_multiple_of(2) && channels.is_multiple_of(2) && self.draw.chance(25) { 2 } else { 1 };
        self.conv_with(map, channels, groups, kernel, pad)
    }

    fn conv_with(&mut self, map: Map, channels: usize, groups: usize, kernel: usize, pad: usize) -> Map {
        let mut inputs = vec![map.value, self.weight(&[channels, map.channels / groups, kernel, kernel])];
        if self.draw.chance(60) {
            inputs.push(self.vector(channels, 1.0, 0.0));
        }
        let conv = op_with("Conv", |a| {
            a.put("group", &(groups as i64));
            a.put("pads", &vec![pad as i64; 4]);
        });
        Map { value: self.net.node(conv, &inputs), channels, size: map.size + 2 * pad + 1 - kernel }
    }

    fn batch_norm(&mut self, map: Map) -> Map {
        let inputs = [
            map.value,
            self.vector(map.channels, 1.0, 0.0),
            self.vector(map.channels, 1.0, 0.0),
            self.vector(map.channels, 0.3, 0.0),
            self.net.floats(&[map.channels], &vec![0.8; map.channels]),
        ];
        Map { value: self.net.plain("BatchNormalization", &inputs), ..map }
    }

    fn activation(&mut self, map: Map) -> Map {
        let value = match self.draw.below(6) {
            0 => self.net.plain("Sigmoid", &[map.value]),
            1 => self.net.node(op("LeakyRelu"), &[map.value]),
            2 => {
                let (low, high) = (self.net.scalar(0.0), self.net.scalar(6.0));
                self.net.plain("Clip", &[map.value, low, high])
            }
            3 => {
                let slope = self.net.weight(&[map.channels, 1, 1]);
                self.net.plain("PRelu", &[map.value, slope])
            }
            _ => self.net.plain("Relu", &[map.value]),
        };
        Map { value, ..map }
    }

    /// One step that keeps the number of channels or changes it.
    fn step(&mut self, map: Map) -> Map {
        match self.draw.below(15) {
            0..=2 => {
                let channels = 2 + self.draw.below(7) as usize;
                self.conv(map, channels)
            }
            3 => self.conv_with(map, map.channels, map.channels, if map.size >= 3 { 3 } else { 1 }, 1),
            4 | 5 => self.batch_norm(map),
            6 => self.activation(map),
            7 => {
                let branch = self.batch_norm(map);
                let branch = self.activation(branch);
                let branch = self.conv_with(branch, map.channels, 1, 3, 1);
                Map { value: self.net.plain("Add", &[map.value, branch.value]), ..map }
            }
            8 => {
                let (a, b) = (self.conv_with(map, 3, 1, 1, 0), self.conv_with(map, 4, 1, 1, 0));
                let value = self.net.node(op_of("Concat", "axis", &1i64), &[a.value, map.value, b.value]);
                Map { value, channels: 7 + map.channels, ..map }
            }
            9 if map.channels >= 2 => {
                let (start, end, axis) = (self.draw.below(2), i64::MAX, 1);
                let inputs = [map.value, self.ints(&[start as i64]), self.ints(&[end]), self.ints(&[axis])];
                Map { value: self.net.plain("Slice", &inputs), channels: map.channels - start as usize, ..map }
            }
            10 => {
                let (before, behind) = (self.draw.below(3) as i64, self.draw.below(2) as i64);
                let mut inputs = vec![map.value, self.ints(&[0, before, 0, 0, 0, behind, 0, 0])];
                if self.draw.chance(50) {
                    inputs.push(self.net.scalar(0.5));
                }
                let channels = map.channels + (before + behind) as usize;
                Map { value: self.net.plain("Pad", &inputs), channels, ..map }
            }
            11 if map.size >= 2 => {
                let name = ["MaxPool", "AveragePool"][self.draw.below(2) as usize];
                let (pad, counts) = (self.draw.below(2) as i64, self.draw.chance(50));
                let pool = op_with(name, |a| {
                    a.put("kernel_shape", &vec![2i64, 2]);
                    a.put("pads", &vec![pad; 4]);
                    if name == "AveragePool" {
                        a.put("count_include_pad", &counts);
                    }
                });
                Map { value: self.net.node(pool, &[map.value]), size: map.size + 2 * pad as usize - 1, ..map }
            }
            12 => {
                let gate = Map { value: self.net.plain("GlobalAveragePool", &[map.value]), size: 1, ..map };
                let gate = self.conv_with(gate, map.channels, 1, 1, 0);
                let gate = self.net.node(op("HardSigmoid"), &[gate.value]);
                Map { value: self.net.plain("Mul", &[map.value, gate]), ..map }
            }
            13 if map.channels.is_multiple_of(2) => self.shuffle(map),
            _ => {
                let inputs = [map.value, self.ints(&[0, 0, 1, 0, 0, 0, 0, 1])];
                Map { value: self.net.plain("Pad", &inputs), ..map }.cropped(self)
            }
        }
    }

    /// The channel shuffle of two groups.
    fn shuffle(&mut self, map: Map) -> Map {
        let (half, size) = ((map.channels / 2) as i64, map.size as i64);
        let apart = self.ints(&[0, 2, half, size, size]);
        let value = self.net.plain("Reshape", &[map.value, apart]);
        let value = self.net.node(op_of("Transpose", "perm", &vec![0i64, 2, 1, 3, 4]), &[value]);
        let together = self.ints(&[0, 2 * half, size, size]);
        Map { value: self.net.plain("Reshape", &[value, together]), ..map }
    }

    fn ints(&mut self, values: &[i64]) -> ValueId {
        self.net.integers(values)
    }
}

impl Map {
    /// Undoes a padding by one row above and one column on the right.
    fn cropped(self, generator: &mut Generator) -> Self {
        let size = self.size as i64;
        let (starts, ends) = (generator.ints(&[1, 0]), generator.ints(&[size + 1, size]));
        let axes = generator.ints(&[2, 3]);
        Self { value: generator.net.plain("Slice", &[self.value, starts, ends, axes]), ..self }
    }
}

fn network(seed: u64) -> Net {
    let mut generator = Generator { net: Net::new(), draw: Draw { stream: Stream::new(seed, 11), next: 0 } };
    let value = generator.net.input("x", &[-1, 3, 5, 5]);
    let mut map = Map { value, channels: 3, size: 5 };
    map = generator.conv(map, 6);
    for _ in 0..3 + generator.draw.below(8) {
        map = generator.step(map);
    }
    let pool = ["GlobalAveragePool", "GlobalMaxPool", "Identity"][generator.draw.below(3) as usize];
    let value = generator.net.plain(pool, &[map.value]);
    let size = if pool == "Identity" { map.size } else { 1 };
    let value = generator.net.plain("Flatten", &[value]);
    let features = map.channels * size * size;
    let weight = generator.weight(&[features, 4]);
    let value = if generator.draw.chance(50) {
        let bias = generator.vector(4, 1.0, 0.0);
        generator.net.plain("Gemm", &[value, weight, bias])
    } else {
        generator.net.plain("MatMul", &[value, weight])
    };
    let value = generator.activation_free(value);
    generator.net.output(value, "y");
    widen(&mut generator.net.graph);
    generator.net
}

/// Makes a network one of float64, whose rounding cannot be taken for a mistake however it is amplified.
fn widen(graph: &mut Graph) {
    let ids: Vec<_> = graph.values().map(|(id, _)| id).collect();
    for id in ids {
        let value = graph.value_mut(id);
        if value.element_type == Some(ElementType::F32) {
            value.element_type = Some(ElementType::F64);
        }
        if let Some(data) = value.data.clone().filter(|data| data.element_type().is_float()) {
            let wide = Tensor::from_f64s(ElementType::F64, data.shape().to_vec(), data.to_f64s().unwrap());
            graph.set_data(id, wide.unwrap());
        }
    }
}

/// Lets some slices of a weight along its first two axes vanish.
fn plant(draw: &mut Draw, shape: &[usize], values: &mut [f64], percent: u64) {
    for axis in 0..shape.len().min(2) {
        let inner: usize = shape[axis + 1..].iter().product();
        for place in 0..shape[axis] {
            if draw.chance(percent) {
                let factor = [0.0, 1e-15][draw.below(2) as usize];
                let slice = values.iter_mut().enumerate().filter(|(index, _)| index / inner % shape[axis] == place);
                slice.for_each(|(_, value)| *value *= factor);
            }
        }
    }
}

impl Generator {
    /// Something behind the last product that is no addition.
    fn activation_free(&mut self, value: ValueId) -> ValueId {
        if self.draw.chance(50) { self.net.plain("Tanh", &[value]) } else { value }
    }
}

#[test]
fn simplifying_keeps_what_networks_compute() {
    let (mut shrunk, mut channels) = (0, 0);
    for seed in 0..150 {
        println!("seed {seed}"); // shown where the test fails
        let net = network(seed);
        let merge = seed % 3 == 0;
        let options = SimplifyOptions { fold_batch_norm: merge, ..SimplifyOptions::default() };
        let (graph, report) = simplified(&net.graph, &options, 1e-9);
        shrunk += usize::from(parameters(&graph) < parameters(&net.graph));
        channels += report.changes.get(&Change::Channels).unwrap_or(&0);
        assert_eq!(report.refusals, Vec::<String>::new());
    }
    // The planted channels are found: without removal neither number would come near.
    assert!(shrunk >= 130 && channels >= 300, "{shrunk} networks, {channels} channels");
}

#[test]
fn simplifying_keeps_what_well_known_networks_compute() {
    for (name, resolution) in [
        ("lenet-300-100", None),
        ("resnet8", None),
        ("resnet20", None),
        ("ds-cnn", None),
        ("mobilenet-v1", Some(32)),
        ("transformer-encoder", None),
    ] {
        println!("{name}"); // shown where the test fails
        let width = resolution.map(|_| 0.25);
        let mut graph = build(name, &ZooOptions { resolution, width, ..ZooOptions::default() }).unwrap();
        let mut draw = Draw { stream: Stream::new(5, 11), next: 0 };
        let weights: Vec<_> = graph.values().map(|(id, value)| (id, value.data.clone())).collect();
        for (id, data) in weights {
            if let Some(data) = data.filter(|data| data.element_type() == ElementType::F32 && data.rank() >= 2) {
                let mut values = data.to_f64s().unwrap();
                plant(&mut draw, data.shape(), &mut values, 10);
                graph.set_data(id, Tensor::from_f64s(ElementType::F32, data.shape().to_vec(), values).unwrap());
            }
        }
        widen(&mut graph);
        let (after, report) = simplified(&graph, &SimplifyOptions::default(), 1e-9);
        assert!(parameters(&after) < parameters(&graph) && report.changes.contains_key(&Change::Channels));
        assert_eq!(report.refusals, Vec::<String>::new());
    }
}

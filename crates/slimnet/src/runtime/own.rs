//! A network in slimnet's own engine, as something to be measured.

use std::collections::BTreeMap;
use std::time::Duration;

use slimnet_engine::kernels::{Context, Zeros};
use slimnet_engine::plan::{Memory, RunError};
use slimnet_engine::{Plan, PlanOptions, inference_form};
use slimnet_graph::tensor::{ElementType, Tensor, element_count};
use slimnet_graph::zoo::random::{self, Distribution, Stream};
use slimnet_graph::{Dim, Graph};

use crate::failure::{Failure, Result};
use crate::measure::{Observe, Workload};

/// A plan of a network in the form in which it is only run.
pub struct Own {
    plan: Plan,
    graph: Graph,
    /// What cannot be done when a run fails.
    what: String,
}

impl Own {
    /// Plans a network whose named dimensions have these lengths. Inputs hold zeros.
    pub fn new(graph: &Graph, lengths: &BTreeMap<String, usize>, zeros: Zeros, what: &str) -> Result<Self> {
        let graph = inference_form(graph).map_err(|error| Failure::new(what, &error))?;
        let options = PlanOptions { lengths: lengths.clone(), zeros, ..PlanOptions::default() };
        let plan = Plan::new(&graph, &options).map_err(|error| Failure::new(what, &error))?;
        Ok(Self { plan, graph, what: what.to_owned() })
    }

    /// Gives inputs by name. One that the network no longer reads is not missed.
    pub fn set(&mut self, inputs: &[(String, Tensor)]) -> Result<()> {
        let free: Vec<_> = self.graph.free_inputs().collect();
        for (name, tensor) in inputs {
            if let Some(&input) = free.iter().find(|&&input| self.graph.value(input).name == *name) {
                self.plan.set(input, tensor).map_err(|error| self.failure(&error))?;
            }
        }
        Ok(())
    }

    /// The outputs of the last run, in the order of the graph's.
    pub fn outputs(&self) -> Result<Vec<Tensor>> {
        let outputs = self.graph.outputs().iter().map(|&output| self.plan.tensor(output));
        outputs.collect::<std::result::Result<_, _>>().map_err(|error| self.failure(&error))
    }

    /// Memory that it takes.
    pub fn memory(&self) -> Memory {
        self.plan.memory()
    }

    /// Whether a kernel was chosen that leaves zeros out.
    pub fn skips_zeros(&self) -> bool {
        self.plan.steps_that_skip_zeros() > 0
    }

    fn failure(&self, error: &RunError) -> Failure {
        Failure::new(&self.what, error)
    }
}

impl Workload for Own {
    fn run(&mut self) -> Result<()> {
        self.plan.run(Context::default()).map_err(|error| self.failure(&error))
    }

    fn run_observed(&mut self, observe: Observe<'_>) -> Result<Option<Duration>> {
        self.plan.compute_observed(Context::default(), observe).map_err(|error| self.failure(&error))?;
        Ok(None)
    }
}

/// Something to compute on, for a graph whose inputs have fixed lengths: normally distributed numbers, and zeros where a
/// number may be an index.
pub fn random_inputs(graph: &Graph, seed: u64) -> Result<Vec<(String, Tensor)>> {
    let input = |input| {
        let value = graph.value(input);
        let cannot = |why: &str| Failure::because(&format!("cannot make the input {:?}", value.name), why);
        let element_type = value.element_type.ok_or_else(|| cannot("its element type is not known"))?;
        let shape: Option<Vec<_>> = value.shape.iter().flatten().map(Dim::known).collect();
        let shape = shape.filter(|_| value.shape.is_some()).ok_or_else(|| cannot("its shape is not known"))?;
        random_input(&value.name, element_type, &shape, seed).map(|tensor| (value.name.clone(), tensor))
    };
    graph.free_inputs().map(input).collect()
}

/// A tensor for the input of this name: normally distributed numbers, or zeros.
pub fn random_input(name: &str, element_type: ElementType, shape: &[usize], seed: u64) -> Result<Tensor> {
    let cannot =
        |why: &dyn std::error::Error| Failure::new(&format!("cannot make numbers for the input {name:?}"), why);
    let count = element_count(shape).map_err(|error| cannot(&error))?;
    // Too much memory must be an error, not the end of the program.
    Vec::<f64>::new().try_reserve_exact(count).map_err(|error| cannot(&error))?;
    let tensor = if element_type.is_float() {
        let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
        random::tensor(element_type, shape.to_vec(), Stream::named(seed, name), normal)
    } else {
        Tensor::from_f64s(element_type, shape.to_vec(), vec![0.0; count])
    };
    tensor.map_err(|error| cannot(&error))
}

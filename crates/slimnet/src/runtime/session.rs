//! A network in ONNX Runtime.

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;

use slimnet_graph::tensor::{ElementType, Tensor};

use super::RuntimeError;
use super::api::{self, SessionOptions, TypeAndShape, Value};
use super::library::Library;

/// More axes than any tensor has.
const MOST_AXES: usize = 64;

/// A network with its inputs, ready to run in ONNX Runtime any number of times.
pub struct Session {
    library: Arc<Library>,
    handle: *mut api::Session,
    input_names: Vec<CString>,
    inputs: Vec<*mut Value>,
    /// Data of the inputs, which the values point to: whole words, so that it is aligned for every element type.
    data: Vec<Vec<u64>>,
    output_names: Vec<CString>,
    /// Results of the last run; null before the first.
    outputs: Vec<*mut Value>,
}

// SAFETY: ONNX Runtime ties nothing of a session to the thread that made it; values belong to the session alone.
#[allow(unsafe_code)]
unsafe impl Send for Session {}

impl Session {
    /// Makes a network, the bytes of an ONNX file without external data, ready to run with these inputs on so many
    /// threads, node after node. `outputs` are the names of what shall be computed.
    ///
    /// # Errors
    /// If ONNX Runtime cannot run the network, or an input is a tensor of strings.
    pub fn new(
        library: &Arc<Library>,
        network: &[u8],
        threads: usize,
        inputs: &[(String, Tensor)],
        outputs: &[String],
    ) -> Result<Self, RuntimeError> {
        let mut session = Self {
            library: Arc::clone(library),
            handle: null_mut(),
            input_names: c_texts(inputs.iter().map(|(name, _)| name))?,
            inputs: Vec::new(),
            data: Vec::new(),
            output_names: c_texts(outputs.iter())?,
            outputs: vec![null_mut(); outputs.len()],
        };
        session.open(network, threads)?;
        inputs.iter().try_for_each(|(name, tensor)| session.add_input(name, tensor))?;
        Ok(session)
    }

    fn open(&mut self, network: &[u8], threads: usize) -> Result<(), RuntimeError> {
        let (library, api) = (&self.library, self.library.api);
        let mut options: *mut SessionOptions = null_mut();
        // SAFETY: the options are made before they are used, and released once; the network is only read, and copied.
        #[allow(unsafe_code)]
        unsafe {
            library.check("make options", (api.create_session_options)(&raw mut options))?;
            let opened = (|| {
                let threads = c_int::try_from(threads).unwrap_or(c_int::MAX);
                library.check("set the threads", (api.set_intra_op_num_threads)(options, threads))?;
                library.check("set the threads", (api.set_inter_op_num_threads)(options, 1))?;
                // Threads that wait for the next run in a busy loop would slow down whatever is measured in turn.
                let (key, value) = (c"session.force_spinning_stop", c"1");
                let added = (api.add_session_config_entry)(options, key.as_ptr(), value.as_ptr());
                library.check("set the threads", added)?;
                let (bytes, made) = (network.as_ptr().cast::<c_void>(), &raw mut self.handle);
                let made = (api.create_session_from_array)(library.env, bytes, network.len(), options, made);
                library.check("make the network ready", made)
            })();
            (api.release_session_options)(options);
            opened
        }
    }

    fn add_input(&mut self, name: &str, tensor: &Tensor) -> Result<(), RuntimeError> {
        let bytes = tensor.bytes().ok_or_else(|| RuntimeError::Input { name: name.to_owned() })?;
        let mut data = vec![0u64; bytes.len().div_ceil(size_of::<u64>())];
        let pairs = data.iter_mut().zip(bytes.chunks(size_of::<u64>()));
        for (word, bytes) in pairs {
            let mut whole = [0; size_of::<u64>()];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        let shape: Vec<i64> = tensor.shape().iter().map(|&length| length as i64).collect();
        let mut value = null_mut();
        // SAFETY: the data has the bytes that are told and stays where it is as long as the value, which only reads it.
        #[allow(unsafe_code)]
        let made = unsafe {
            (self.library.api.create_tensor_with_data)(
                self.library.memory,
                data.as_mut_ptr().cast(),
                bytes.len(),
                shape.as_ptr(),
                shape.len(),
                tensor.element_type().to_onnx(),
                &raw mut value,
            )
        };
        self.library.check("take an input", made)?;
        self.inputs.push(value);
        self.data.push(data);
        Ok(())
    }

    /// Computes the outputs.
    ///
    /// # Errors
    /// If ONNX Runtime refuses the inputs, or a node fails.
    pub fn run(&mut self) -> Result<(), RuntimeError> {
        self.release_outputs();
        let pointers = |names: &[CString]| names.iter().map(|name| name.as_ptr()).collect::<Vec<_>>();
        let (input_names, output_names) = (pointers(&self.input_names), pointers(&self.output_names));
        // SAFETY: there are as many names as values; outputs are null, so that ONNX Runtime makes them.
        #[allow(unsafe_code)]
        let status = unsafe {
            (self.library.api.run)(
                self.handle,
                null(),
                input_names.as_ptr(),
                self.inputs.as_ptr().cast(),
                self.inputs.len(),
                output_names.as_ptr(),
                output_names.len(),
                self.outputs.as_mut_ptr(),
            )
        };
        self.library.check("run the network", status)
    }

    /// The outputs of the last run, in the order in which they were named; of a run that failed or was not, none.
    ///
    /// # Errors
    /// If an output is no tensor, or one of strings.
    pub fn outputs(&self) -> Result<Vec<Tensor>, RuntimeError> {
        let outputs = self.outputs.iter().zip(&self.output_names).filter(|(output, _)| !output.is_null());
        outputs.map(|(&output, name)| self.tensor(output, name)).collect()
    }

    fn tensor(&self, value: *mut Value, name: &CStr) -> Result<Tensor, RuntimeError> {
        let (library, api) = (&self.library, self.library.api);
        let cannot = || RuntimeError::Output { name: name.to_string_lossy().into_owned() };
        let mut is_tensor: c_int = 0;
        let mut described: *mut TypeAndShape = null_mut();
        let (mut code, mut axes, mut lengths) = (0, 0, [0i64; MOST_AXES]);
        let mut data: *mut c_void = null_mut();
        // SAFETY: the value was made by the last run; the description is made before it is read, and released once; all
        // other pointers go to variables of this function's own, `lengths` for no more axes than it has.
        #[allow(unsafe_code)]
        unsafe {
            library.check("read an output", (api.is_tensor)(value, &raw mut is_tensor))?;
            if is_tensor == 0 {
                return Err(cannot());
            }
            library.check("read an output", (api.get_type_and_shape)(value, &raw mut described))?;
            let read = (|| {
                library.check("read an output", (api.get_element_type)(described, &raw mut code))?;
                library.check("read an output", (api.get_axes)(described, &raw mut axes))?;
                axes = axes.min(MOST_AXES);
                library.check("read an output", (api.get_shape)(described, lengths.as_mut_ptr(), axes))
            })();
            (api.release_type_and_shape)(described);
            read?;
        }
        let element_type = ElementType::from_onnx(code).ok_or_else(cannot)?;
        let shape: Option<Vec<usize>> = lengths[..axes].iter().map(|&length| usize::try_from(length).ok()).collect();
        let shape = shape.ok_or_else(cannot)?;
        let count = slimnet_graph::tensor::element_count(&shape).map_err(|_| cannot())?;
        let bytes = element_type.byte_count(count).ok_or_else(cannot)?;
        // SAFETY: the value is a tensor of numbers, whose data has so many bytes; of an empty one nothing is read.
        #[allow(unsafe_code)]
        let bytes = unsafe {
            library.check("read an output", (api.get_tensor_data)(value, &raw mut data))?;
            if bytes == 0 { Vec::new() } else { std::slice::from_raw_parts(data.cast::<u8>(), bytes).to_vec() }
        };
        Tensor::from_bytes(element_type, shape, bytes.into()).map_err(|_| cannot())
    }

    fn release_outputs(&mut self) {
        for output in &mut self.outputs {
            self.library.release(std::mem::replace(output, null_mut()));
        }
    }
}

impl Library {
    fn release(&self, value: *mut Value) {
        if !value.is_null() {
            // SAFETY: made by the library, and nobody holds it any more.
            #[allow(unsafe_code)]
            unsafe {
                (self.api.release_value)(value);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.release_outputs();
        self.inputs.drain(..).for_each(|input| self.library.release(input));
        if !self.handle.is_null() {
            // SAFETY: made by `open`, and released once.
            #[allow(unsafe_code)]
            unsafe {
                (self.library.api.release_session)(self.handle);
            }
        }
    }
}

/// Names as C has them.
fn c_texts<'a>(names: impl Iterator<Item = &'a String>) -> Result<Vec<CString>, RuntimeError> {
    let text = |name: &String| CString::new(name.as_str()).map_err(|_| RuntimeError::Name { name: name.clone() });
    names.map(text).collect()
}

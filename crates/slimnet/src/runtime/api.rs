//! The part of ONNX Runtime's C interface that is used here: `onnxruntime_c_api.h`, version [`VERSION`], of ONNX Runtime 1.11.
//!
//! The interface is a table of functions that only ever grows at its end, so that a later library serves the same table.

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;

/// Version of the interface: the library that is asked for it must be at least 1.11.
pub const VERSION: u32 = 11;

/// Says nothing but what ends the process: errors come back as a [`Status`].
pub const LOG_FATAL: c_int = 4;
/// An allocator that keeps no memory of its own.
pub const DEVICE_ALLOCATOR: c_int = 0;
/// Memory of the processor.
pub const MEMORY_DEFAULT: c_int = 0;

/// Why a call failed; null if it did not.
pub enum Status {}
/// What all sessions share.
pub enum Env {}
/// A network, made ready.
pub enum Session {}
/// How a session shall be made.
pub enum SessionOptions {}
/// How a run shall be made.
pub enum RunOptions {}
/// An input or output.
pub enum Value {}
/// Element type and shape of a tensor.
pub enum TypeAndShape {}
/// Where memory lies.
pub enum MemoryInfo {}

/// What the library's only symbol, `OrtGetApiBase`, returns.
#[repr(C)]
pub struct ApiBase {
    pub get_api: unsafe extern "system" fn(version: u32) -> *const Api,
    pub get_version_string: unsafe extern "system" fn() -> *const c_char,
}

type Made<T> = *mut *mut T;

/// A function that is not called.
type Unused = *const c_void;

/// The table of functions. `_N` are those from the `N`th on that are not called.
#[repr(C)]
pub struct Api {
    _0: [Unused; 2],
    pub get_error_message: unsafe extern "system" fn(*const Status) -> *const c_char,
    pub create_env: unsafe extern "system" fn(level: c_int, name: *const c_char, Made<Env>) -> *mut Status,
    _4: [Unused; 2],
    pub disable_telemetry_events: unsafe extern "system" fn(*const Env) -> *mut Status,
    _7: [Unused; 1],
    pub create_session_from_array: unsafe extern "system" fn(
        *const Env,
        model: *const c_void,
        bytes: usize,
        *const SessionOptions,
        Made<Session>,
    ) -> *mut Status,
    pub run: unsafe extern "system" fn(
        *mut Session,
        *const RunOptions,
        input_names: *const *const c_char,
        inputs: *const *const Value,
        input_count: usize,
        output_names: *const *const c_char,
        output_count: usize,
        outputs: Made<Value>,
    ) -> *mut Status,
    pub create_session_options: unsafe extern "system" fn(Made<SessionOptions>) -> *mut Status,
    _11: [Unused; 13],
    pub set_intra_op_num_threads: unsafe extern "system" fn(*mut SessionOptions, c_int) -> *mut Status,
    pub set_inter_op_num_threads: unsafe extern "system" fn(*mut SessionOptions, c_int) -> *mut Status,
    _26: [Unused; 23],
    pub create_tensor_with_data: unsafe extern "system" fn(
        *const MemoryInfo,
        data: *mut c_void,
        bytes: usize,
        shape: *const i64,
        axes: usize,
        element_type: c_int,
        Made<Value>,
    ) -> *mut Status,
    pub is_tensor: unsafe extern "system" fn(*const Value, *mut c_int) -> *mut Status,
    pub get_tensor_data: unsafe extern "system" fn(*mut Value, *mut *mut c_void) -> *mut Status,
    _52: [Unused; 8],
    pub get_element_type: unsafe extern "system" fn(*const TypeAndShape, *mut c_int) -> *mut Status,
    pub get_axes: unsafe extern "system" fn(*const TypeAndShape, *mut usize) -> *mut Status,
    pub get_shape: unsafe extern "system" fn(*const TypeAndShape, *mut i64, axes: usize) -> *mut Status,
    _63: [Unused; 2],
    pub get_type_and_shape: unsafe extern "system" fn(*const Value, Made<TypeAndShape>) -> *mut Status,
    _66: [Unused; 3],
    pub create_cpu_memory_info:
        unsafe extern "system" fn(allocator: c_int, kind: c_int, Made<MemoryInfo>) -> *mut Status,
    _70: [Unused; 22],
    pub release_env: unsafe extern "system" fn(*mut Env),
    pub release_status: unsafe extern "system" fn(*mut Status),
    pub release_memory_info: unsafe extern "system" fn(*mut MemoryInfo),
    pub release_session: unsafe extern "system" fn(*mut Session),
    pub release_value: unsafe extern "system" fn(*mut Value),
    _97: [Unused; 2],
    pub release_type_and_shape: unsafe extern "system" fn(*mut TypeAndShape),
    pub release_session_options: unsafe extern "system" fn(*mut SessionOptions),
    _101: [Unused; 29],
    pub add_session_config_entry:
        unsafe extern "system" fn(*mut SessionOptions, key: *const c_char, value: *const c_char) -> *mut Status,
}

/// Places that ONNX Runtime's own source asserts or its header's order gives.
const _: () = {
    const FUNCTION: usize = size_of::<Unused>();
    assert!(offset_of!(Api, run) == 9 * FUNCTION);
    assert!(offset_of!(Api, create_tensor_with_data) == 49 * FUNCTION);
    assert!(offset_of!(Api, create_cpu_memory_info) == 69 * FUNCTION);
    assert!(offset_of!(Api, release_session_options) == 100 * FUNCTION);
    assert!(offset_of!(Api, add_session_config_entry) == 130 * FUNCTION);
};

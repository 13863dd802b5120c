//! Finding and loading ONNX Runtime's library.

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::Arc;

use super::RuntimeError;
use super::api::{Api, ApiBase, DEVICE_ALLOCATOR, Env, LOG_FATAL, MEMORY_DEFAULT, MemoryInfo, Status, VERSION};

/// The variable that names the library where the command line does not.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";

/// What the library is called where nobody says its name; the loader looks for it in its usual places.
const NAMES: &[&str] = if cfg!(windows) {
    &["onnxruntime.dll"]
} else if cfg!(target_vendor = "apple") {
    &["libonnxruntime.dylib"]
} else {
    &["libonnxruntime.so", "libonnxruntime.so.1"]
};

/// ONNX Runtime, loaded.
pub struct Library {
    pub(super) api: &'static Api,
    pub(super) env: *mut Env,
    pub(super) memory: *mut MemoryInfo,
    version: String,
}

// SAFETY: ONNX Runtime allows its environment to be used by any number of threads at once; the description of memory is
// never written to.
#[allow(unsafe_code)]
unsafe impl Send for Library {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Library {}

impl Library {
    /// The library that is named, by the command line (`given`) or by the variable `ORT_DYLIB_PATH`, else the one that the
    /// loader finds; `None` if it finds none.
    ///
    /// One that nobody named and that cannot be used counts as not found.
    ///
    /// # Errors
    /// If a library is named that cannot be used.
    pub fn find(given: Option<&Path>) -> Result<Option<Arc<Self>>, RuntimeError> {
        let variable = || std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(named) = given.map(Path::to_owned).or_else(variable) {
            // The loader would look for a bare name in its own places only.
            let place = std::path::absolute(&named).ok().filter(|absolute| absolute.exists());
            return Self::load(place.as_deref().unwrap_or(&named), &named).map(Some);
        }
        // Bare names: what lies in the current folder must not be run because it lies there.
        Ok(NAMES.iter().find_map(|name| Self::load(Path::new(name), Path::new(name)).ok()))
    }

    /// The version of the library, like `1.22.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Loads a file, which errors call as it was called.
    fn load(file: &Path, called: &Path) -> Result<Arc<Self>, RuntimeError> {
        let name = called.display().to_string();
        let not_loaded = |error: libloading::Error| RuntimeError::Load { file: name.clone(), why: chain(&error) };
        // SAFETY: loading runs code of the library. The user names it, or the loader does, as for every program.
        #[allow(unsafe_code)]
        let library = unsafe { libloading::Library::new(file) }.map_err(not_loaded)?;
        // SAFETY: the type is that of the symbol in ONNX Runtime's header, and has been since its first release.
        #[allow(unsafe_code)]
        let entry = unsafe { library.get::<unsafe extern "system" fn() -> *const ApiBase>(c"OrtGetApiBase") };
        let entry = *entry.map_err(|_| RuntimeError::NotOnnxRuntime { file: name.clone() })?;
        // Threads of the library may outlive everything here: it is never unloaded.
        std::mem::forget(library);
        // SAFETY: the library stays loaded, so what it returns is valid for ever, or null.
        #[allow(unsafe_code)]
        let (version, api) = unsafe {
            let base = entry().as_ref().ok_or_else(|| RuntimeError::NotOnnxRuntime { file: name.clone() })?;
            (text((base.get_version_string)()), (base.get_api)(VERSION).as_ref())
        };
        let Some(api) = api else { return Err(RuntimeError::TooOld { file: name, version }) };
        let mut loaded = Self { api, env: null_mut(), memory: null_mut(), version };
        // SAFETY: pointers go to fields of this function's own; the name is copied.
        #[allow(unsafe_code)]
        unsafe {
            let made = (api.create_env)(LOG_FATAL, c"slimnet".as_ptr(), &raw mut loaded.env);
            loaded.check("start", made)?;
            loaded.check("turn telemetry off", (api.disable_telemetry_events)(loaded.env))?;
            let made = (api.create_cpu_memory_info)(DEVICE_ALLOCATOR, MEMORY_DEFAULT, &raw mut loaded.memory);
            loaded.check("describe memory", made)?;
        }
        Ok(Arc::new(loaded))
    }

    /// What a call returned as a result; `what` could not be done if it failed.
    pub(super) fn check(&self, what: &'static str, status: *mut Status) -> Result<(), RuntimeError> {
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: a status that is not null is ours to read and then to release, once.
        #[allow(unsafe_code)]
        let why = unsafe {
            let why = text((self.api.get_error_message)(status));
            (self.api.release_status)(status);
            why
        };
        Err(RuntimeError::Refused { what, why })
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: sessions hold the library, so none is left; both are null or were made by it, and are released once.
        #[allow(unsafe_code)]
        unsafe {
            if !self.memory.is_null() {
                (self.api.release_memory_info)(self.memory);
            }
            if !self.env.is_null() {
                (self.api.release_env)(self.env);
            }
        }
    }
}

/// A copy of a text of the library's.
fn text(words: *const c_char) -> String {
    if words.is_null() {
        return String::new();
    }
    // SAFETY: ONNX Runtime returns texts that end in a zero; the caller has just got this one.
    #[allow(unsafe_code)]
    let words = unsafe { CStr::from_ptr(words) };
    words.to_string_lossy().trim().to_owned()
}

/// An error of the loader with what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

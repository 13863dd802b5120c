//! Attributes of operators: one declaration gives the struct, its defaults, and how it is read and written.

use std::collections::BTreeMap;

use crate::onnx::proto::{AttributeProto, attribute_proto::AttributeType};
use crate::tensor::{ElementType, Tensor};

/// Why a node's attributes are not those of its operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// A required attribute is not there.
    #[error("attribute {0:?} is missing")]
    Missing(String),
    /// An attribute has another type, or a value outside its list.
    #[error("attribute {name:?}: expected {expected}, found {found}")]
    Wrong {
        /// The attribute's name.
        name: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// An attribute that the operator does not have (in the semantics that we know).
    #[error("attribute {0:?} is not known")]
    Unknown(String),
}

/// A Rust type that stands for the value of an attribute.
pub trait AttributeValue: Sized + PartialEq {
    /// What it is, for messages.
    fn expected() -> String;
    /// The value, if the attribute has this type.
    fn from_proto(attribute: &AttributeProto) -> Option<Self>;
    /// Type and value, without a name. `None`: the attribute is left out.
    fn to_proto(&self) -> Option<AttributeProto>;
}

fn proto(r#type: AttributeType) -> AttributeProto {
    AttributeProto { r#type: Some(r#type.into()), ..AttributeProto::default() }
}

impl AttributeValue for i64 {
    fn expected() -> String {
        "an integer".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        (attribute.r#type() == AttributeType::Int).then(|| attribute.i())
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        Some(AttributeProto { i: Some(*self), ..proto(AttributeType::Int) })
    }
}

impl AttributeValue for bool {
    fn expected() -> String {
        "0 or 1".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        // Exporters write any non-zero number for "yes".
        i64::from_proto(attribute).map(|number| number != 0)
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        i64::from(*self).to_proto()
    }
}

impl AttributeValue for f32 {
    fn expected() -> String {
        "a float".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        (attribute.r#type() == AttributeType::Float).then(|| attribute.f())
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        Some(AttributeProto { f: Some(*self), ..proto(AttributeType::Float) })
    }
}

impl AttributeValue for String {
    fn expected() -> String {
        "a string".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        (attribute.r#type() == AttributeType::String).then(|| Self::from_utf8(attribute.s().to_vec()).ok())?
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        Some(AttributeProto { s: Some(self.clone().into_bytes()), ..proto(AttributeType::String) })
    }
}

impl AttributeValue for Vec<i64> {
    fn expected() -> String {
        "a list of integers".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        (attribute.r#type() == AttributeType::Ints).then(|| attribute.ints.clone())
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        Some(AttributeProto { ints: self.clone(), ..proto(AttributeType::Ints) })
    }
}

impl AttributeValue for Vec<f32> {
    fn expected() -> String {
        "a list of floats".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        (attribute.r#type() == AttributeType::Floats).then(|| attribute.floats.clone())
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        Some(AttributeProto { floats: self.clone(), ..proto(AttributeType::Floats) })
    }
}

impl AttributeValue for Vec<String> {
    fn expected() -> String {
        "a list of strings".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        if attribute.r#type() != AttributeType::Strings {
            return None;
        }
        attribute.strings.iter().map(|text| String::from_utf8(text.clone()).ok()).collect()
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        let strings = self.iter().map(|text| text.clone().into_bytes()).collect();
        Some(AttributeProto { strings, ..proto(AttributeType::Strings) })
    }
}

impl AttributeValue for Tensor {
    fn expected() -> String {
        "a tensor".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        crate::onnx::tensor_from_proto(attribute.t.as_ref()?).ok()
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        let t = Some(Box::new(crate::onnx::tensor_to_proto("", self)));
        Some(AttributeProto { t, ..proto(AttributeType::Tensor) })
    }
}

impl AttributeValue for ElementType {
    fn expected() -> String {
        "the number of an element type".into()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        Self::from_onnx(i32::try_from(i64::from_proto(attribute)?).ok()?)
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        i64::from(self.to_onnx()).to_proto()
    }
}

impl<T: AttributeValue> AttributeValue for Option<T> {
    fn expected() -> String {
        T::expected()
    }
    fn from_proto(attribute: &AttributeProto) -> Option<Self> {
        T::from_proto(attribute).map(Some)
    }
    fn to_proto(&self) -> Option<AttributeProto> {
        self.as_ref()?.to_proto()
    }
}

/// A node's attributes while they are taken one by one; what is left at the end was not known.
#[derive(Debug, Clone, Default)]
pub struct Attributes(BTreeMap<String, AttributeProto>);

impl Attributes {
    /// The attributes of a node. Of two with one name the last counts.
    pub fn new(attributes: &[AttributeProto]) -> Self {
        Self(attributes.iter().map(|attribute| (attribute.name().to_owned(), attribute.clone())).collect())
    }

    /// Takes an attribute out.
    ///
    /// # Errors
    /// If it has another type. An absent one is `None`.
    pub fn take<T: AttributeValue>(&mut self, name: &str) -> Result<Option<T>, AttributeError> {
        let Some(attribute) = self.0.remove(name) else { return Ok(None) };
        T::from_proto(&attribute).map(Some).ok_or_else(|| AttributeError::Wrong {
            name: name.to_owned(),
            expected: T::expected(),
            found: describe(&attribute),
        })
    }

    /// Whether the attribute is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets an attribute, as if the node had had it.
    pub fn put<T: AttributeValue>(&mut self, name: &str, value: &T) {
        if let Some(attribute) = value.to_proto() {
            self.0.insert(name.to_owned(), AttributeProto { name: Some(name.to_owned()), ..attribute });
        }
    }

    /// Takes an attribute out without looking at its value.
    pub fn discard(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// What is left, in the order of its names.
    pub fn into_protos(self) -> Vec<AttributeProto> {
        self.0.into_values().collect()
    }

    /// The name of one that is left.
    pub fn first_name(&self) -> Option<&str> {
        self.names().next()
    }

    /// The names of what is left, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn describe(attribute: &AttributeProto) -> String {
    match attribute.r#type() {
        AttributeType::Int => attribute.i().to_string(),
        AttributeType::Float => attribute.f().to_string(),
        AttributeType::String => format!("{:?}", String::from_utf8_lossy(attribute.s())),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        other => format!("{other:?}"),
    }
}

/// What the `attributes!` macro gives to each operator's struct.
pub trait AttributeStruct: Sized {
    /// Takes the operator's attributes out; absent ones get their defaults.
    ///
    /// # Errors
    /// If one is missing that is required, or has the wrong type.
    fn take_from(attributes: &mut Attributes) -> Result<Self, AttributeError>;
    /// Puts in every attribute that is not at its default.
    fn put_into(&self, attributes: &mut Attributes);
}

/// Declares the attribute struct of an operator. `name: Type = default` is optional in files, `name: Type` is required.
macro_rules! attributes {
    ($($(#[$doc:meta])* pub struct $struct:ident {
        $($(#[$field_doc:meta])* $field:ident : $type:ty $(= $default:expr)?),* $(,)?
    })+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $struct { $($(#[$field_doc])* pub $field: $type),* }

        impl $crate::ops::attribute::AttributeStruct for $struct {
            #[allow(unused_variables)]
            fn take_from(
                attributes: &mut $crate::ops::attribute::Attributes,
            ) -> Result<Self, $crate::ops::attribute::AttributeError> {
                Ok(Self { $($field: match attributes.take::<$type>(stringify!($field))? {
                    Some(value) => value,
                    None => $crate::ops::attribute::attributes!(@default $field $($default)?),
                }),* })
            }
            #[allow(unused_variables)]
            fn put_into(&self, attributes: &mut $crate::ops::attribute::Attributes) {
                $($crate::ops::attribute::attributes!(@put attributes self $field : $type $(= $default)?);)*
            }
        }
    )+ };
    (@default $field:ident $default:expr) => { $default };
    (@default $field:ident) => {
        return Err($crate::ops::attribute::AttributeError::Missing(stringify!($field).to_owned()))
    };
    (@put $attributes:ident $self:ident $field:ident : $type:ty = $default:expr) => {
        let default: $type = $default;
        if $self.$field != default { $attributes.put(stringify!($field), &$self.$field); }
    };
    (@put $attributes:ident $self:ident $field:ident : $type:ty) => {
        $attributes.put(stringify!($field), &$self.$field);
    };
}
pub(crate) use attributes;

/// Declares an enum whose variants are names in ONNX: operators without attributes, or values of a string attribute.
macro_rules! names {
    ($(#[$doc:meta])* pub enum $enum:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // each variant is the ONNX name that it carries
        pub enum $enum { $($variant),+ }

        impl $enum {
            /// Every variant.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in ONNX.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The variant with this name in ONNX.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.name() == name)
            }
        }

        impl $crate::ops::attribute::AttributeValue for $enum {
            fn expected() -> String {
                format!("one of {}", Self::ALL.iter().map(|variant| variant.name()).collect::<Vec<_>>().join(", "))
            }
            fn from_proto(attribute: &$crate::onnx::proto::AttributeProto) -> Option<Self> {
                Self::from_name(&<String as $crate::ops::attribute::AttributeValue>::from_proto(attribute)?)
            }
            fn to_proto(&self) -> Option<$crate::onnx::proto::AttributeProto> {
                $crate::ops::attribute::AttributeValue::to_proto(&self.name().to_owned())
            }
        }
    };
}
pub(crate) use names;

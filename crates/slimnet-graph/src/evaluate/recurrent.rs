//! recurrent

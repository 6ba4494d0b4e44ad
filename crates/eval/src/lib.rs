//! Running tasks on a language model and scoring what it says.

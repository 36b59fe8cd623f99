//! The recipes of the documents: the programs that fetch tokens.

mod programs;

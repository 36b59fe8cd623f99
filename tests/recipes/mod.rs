//! The recipes of the documents: the files that they show, and the programs that fetch tokens.

mod files;
mod programs;

//! Tests of the decoder against bytes written by hand, and against an encoder that is written here.

mod corpus;
mod encoder;
mod examples;
mod properties;
mod refusals;
mod strategies;

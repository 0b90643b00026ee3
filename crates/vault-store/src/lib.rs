//! The vault's Store trait, its engines and one conformance suite.

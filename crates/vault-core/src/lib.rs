//! The trusted core of a vault node: records, guess rules, OPAQUE, authenticated log.

//! How guessable a new password is.

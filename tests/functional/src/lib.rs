//! Fixtures for the functional tests.

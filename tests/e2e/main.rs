//! One binary of end-to-end tests: each module is one promise of the edge or of the site.

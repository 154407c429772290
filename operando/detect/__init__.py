"""From observables to events: what changed, when, and how sure we are."""

"""The HTTP API: routes, forms and doors over what ``console.service`` does."""

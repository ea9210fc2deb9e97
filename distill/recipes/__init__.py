"""Recipes that come with the package, as YAML; `distill.recipe.load` finds them by name."""

"""The verbs of this room: one module per verb, and what verbs have in common."""

"""Jobs as the clients of other workers send them: recognised by shape, read by one contract, answered in their shape.

One module per form; each has `matches(raw)`, `to_job(raw)` and `to_answer(answer)`.
"""

"""Jobs as the clients of other workers send them: recognised by shape, read by one contract, answered in their shape.

One module per form: `matches(raw)`, and `to_job(raw)` or `to_answer(answer)` where fields or answers are not ours.
"""

"""How far predictions can be trusted, from what a model misses of materials left out.

`residuals` is what is missed; `variance_bars` and `signal_bars` make standard deviations of it, for
Gaussian processes and for all other heads; `conformal`, `scaling` and `bound` make intervals and
bounds that hold; `surroundings` and `domain` say what lies outside; `reliability` is all that a
model keeps of it. The heads state; this room calibrates what they state.
"""

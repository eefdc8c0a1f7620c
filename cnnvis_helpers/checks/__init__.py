"""Checks for the exercises, one module per lecture.

    from cnnvis_helpers.checks import lecture01
    lecture01.check_convolution(my_convolution)

A check takes your function. It prints "not attempted yet" while the function is a stub, raises an
AssertionError that says what to look at when the answer is wrong, and prints "passed: …" when it is right.

- `core`       what every check is made of: `exercise`, `run`, `compare`
- `lectureNN`  the checks of lecture NN
"""

"""What is submitted in whole tests."""

HELLO = """
version 1.0
workflow hello {
    input { String name }
    call greet { input: name = name }
    output { String greeting = greet.greeting  File letter = greet.letter }
}
task greet {
    input { String name }
    command { echo "hello ~{name}" > letter.txt; cat letter.txt }
    output { String greeting = read_string(stdout())  File letter = "letter.txt" }
}
"""

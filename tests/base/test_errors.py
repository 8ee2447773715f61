from alignsd.base.errors import Problem


def test_a_problem_reads_as_five_lines_and_a_notebook_shows_no_stack():
    problem = Problem("No can do.", expected="a", found="b", cause="c", fix="d")
    lines = ["No can do.", "  expected: a", "  found:    b", "  cause:    c", "  fix:      d"]
    assert str(problem).splitlines() == lines
    assert problem._render_traceback_() == str(problem).splitlines()

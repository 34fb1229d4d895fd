"""The page in a real browser: what it draws, what it answers, what it refuses."""

import csv
import io

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from latentsk.outliers._decisions import conformal_p_values

N_ROWS = 700  # of the digits
MINUS, DASH = "\u2212", "\u2013"  # as the page writes them


def below(shown, threshold):
    shown.page.fill("#threshold-value", repr(float(threshold)))
    text = shown.text("#threshold-count")
    return int(text.split(" of ")[0].replace(",", ""))


# The map


@pytest.mark.parametrize("fragment", ["", "#canvas2d"])
def test_a_point_has_the_colour_of_its_label(open_page, digits, fragment):
    shown = open_page(digits.path, fragment=fragment)
    name = shown.run("return app.map.plot.name;")
    assert name == ("Canvas2D" if fragment else "WebGL")
    # Points with nothing of another label within some pixels, and so much of their own
    # colour that opacity does not matter.
    places = np.array(
        shown.run("return [...Array(data.n).keys()].map(app.map.screenOf);")
    )
    row = int(np.argmin(digits.scores))  # drawn large, and opaque
    others = np.delete(places, row, axis=0)
    assert np.hypot(*(others - places[row]).T).min() > 5
    x, y = places[row]
    wanted = shown.page.evaluate(
        "code => getComputedStyle(document.querySelectorAll('#legend .swatch')[code])"
        ".backgroundColor",
        int(digits.labels[row]),
    )
    wanted = [int(part) for part in wanted[4:-1].split(",")]
    red, green, blue, opacity = shown.pixel("#points-canvas", x, y)
    np.testing.assert_allclose([red, green, blue], wanted, atol=12)
    assert opacity > 240
    assert shown.pixel("#points-canvas", 2, 2)[3] == 0


def test_without_webgl_the_canvas_draws(open_page, digits):
    script = """
        const original = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
            return kind.includes("webgl") ? null : original.call(this, kind, ...more);
        };
    """
    shown = open_page(digits.path, script=script)
    assert shown.run("return app.map.plot.name;") == "Canvas2D"
    x, y = shown.place(int(np.argmin(digits.scores)))
    shown.page.mouse.click(x, y)
    assert shown.run("return app.state.selected;") == int(np.argmin(digits.scores))


def test_zoom_and_pan_move_the_points_as_they_move_the_overlay(shown, digits):
    row = int(np.argmin(digits.scores))
    before = shown.run("return app.map.screenOf(x);", row)
    x, y = shown.place(row)
    shown.page.mouse.move(x, y)
    shown.page.mouse.wheel(0, -400)
    shown.frame()
    # Under the pointer (at whole pixels), it stays where it is.
    np.testing.assert_allclose(
        shown.run("return app.map.screenOf(x);", row), before, atol=1
    )
    shown.page.mouse.down()
    shown.page.mouse.move(x - 50, y + 30, steps=4)
    shown.page.mouse.up()
    shown.frame()
    after = shown.run("return app.map.screenOf(x);", row)
    np.testing.assert_allclose(np.subtract(after, before), [-50, 30], atol=1)
    for _ in range(60):  # points are drawn some frames after what lies over them
        if shown.pixel("#points-canvas", *after)[3] > 240:
            break
        shown.frame()
    assert shown.pixel("#points-canvas", *after)[3] > 240


def test_colours_follow_the_column(shown, digits):
    row = int(np.argmin(digits.scores))
    place = shown.run("return app.map.screenOf(x);", row)
    seen = {}
    for name in ("label", "score", "ink", "batch", "when"):
        shown.page.select_option("#color-by", label=name)
        shown.frame()
        seen[name] = tuple(shown.pixel("#points-canvas", *place)[:3])
    assert len(set(seen.values())) >= 4
    # A date's legend shows dates; 14 batches are 10 colours and others.
    assert "2026-01-" in shown.text("#legend")
    shown.page.select_option("#color-by", label="batch")
    assert shown.page.locator("#legend button").count() == 11
    assert "4 others" in shown.text("#legend")


# The threshold


def test_counts_below_the_threshold_are_those_of_numpy(shown, digits):
    scores = digits.scores
    ordered = np.sort(scores)
    for threshold in [
        *ordered[[0, 1, 17, 350, -1]],
        ordered[0] - 1,
        ordered[-1] + 1,
        -3,
    ]:
        assert below(shown, threshold) == int((scores < threshold).sum())
    shown.page.click("#threshold-model")
    expected = int((digits.detector.predict(digits.X) == -1).sum())
    assert shown.text("#threshold-count").startswith(f"{expected} of {N_ROWS} rows")


def test_the_slider_moves_the_threshold_by_keys(shown):
    shown.page.focus("#threshold-slider")
    before = shown.run("return app.state.threshold;")
    shown.page.keyboard.press("ArrowRight")
    assert shown.run("return app.state.threshold;") > before
    assert shown.page.input_value("#threshold-value") != ""


def test_error_rates_are_those_of_the_calibration_rows(shown, digits):
    calibration = digits.detector.calibration_scores_
    below(shown, calibration[9])
    text = shown.text("#threshold-rates")
    assert (
        f"Of {len(calibration)} normal calibration rows, 9 (2.3 %) score below" in text
    )
    assert "if rows of the fit or of the calibration are among these" in text
    for level in (0.05, 0.1, 0.2):
        shown.page.click(f"[data-level='{level}']")
        expected = int((digits.detector.predict_fdr(digits.X, level) == -1).sum())
        count = shown.text("#threshold-count")
        assert count.startswith(f"{expected} of {N_ROWS}"), (level, count)
    counted = shown.page.evaluate(
        "p => [0.01, 0.05, 0.3, 0.9].map((a) => explorer.countAtDiscoveryRate(p, a))",
        sorted(conformal_p_values(digits.scores, calibration).tolist()),
    )
    expected = [
        (digits.detector.predict_fdr(digits.X, a) == -1).sum()
        for a in (0.01, 0.05, 0.3, 0.9)
    ]
    assert counted == [int(n) for n in expected]


def test_only_the_rows_below_the_threshold_can_be_shown(shown, digits):
    shown.page.check("#only-below")
    shown.frame()
    kinds = np.array(shown.run("return [...app.map.kinds];"))
    is_below = digits.detector.predict(digits.X) == -1
    assert (kinds[is_below] == 1).all()
    assert (kinds[~is_below] == 3).all()  # hidden
    shown.page.uncheck("#only-below")


# A row


def test_a_click_on_a_point_shows_its_reasons(shown, digits):
    row = int(np.argmin(digits.scores))
    shown.page.mouse.click(*shown.place(row))
    assert shown.text("#row-heading") == f"digit {row}"
    reasons = digits.detector.explain(digits.X[[row]], labels=[row]).loc[row]
    wanted = reasons["contribution"].sort_values()
    cells = shown.page.locator("#tab-row table").first.locator("tbody tr").all()
    for cell, (name, contribution) in zip(cells[:5], wanted[:5].items(), strict=True):
        pixel = int(str(name).removeprefix("x"))
        said = cell.inner_text().replace(MINUS, "-").split("\t")
        assert said[0].strip() == f"row {pixel // 8}, column {pixel % 8}"
        assert float(said[1]) == pytest.approx(contribution, rel=5e-3)
        assert float(said[2]) == digits.X[row, pixel]


def test_the_image_is_beside_its_reconstruction(shown, digits):
    row = int(np.argmin(digits.scores))
    shown.run("app.select(x);", row)
    wanted = np.stack(
        [digits.X[row], digits.detector.embedder_.reconstruct(digits.X[[row]])[0]]
    )
    wanted = np.clip(wanted / digits.X.max(), 0, 1) * 255
    for figure, image in enumerate(wanted):
        data = shown.page.evaluate(
            "i => { const canvas = document.querySelectorAll('#tab-row canvas')[i];"
            "return [...canvas.getContext('2d').getImageData(0, 0, 8, 8).data]; }",
            figure,
        )
        np.testing.assert_allclose(np.array(data)[::4], image, atol=5)


def test_the_worst_window_of_a_score_map_is_framed(open_page, windowed):
    shown = open_page(windowed.path)
    embedder = windowed.detector.embedder_
    row = int(np.argmin(windowed.scores))
    shown.run("app.select(x);", row)
    scores = embedder.score_map(windowed.X[[row]])[0]
    sums = np.array(
        [[scores[i : i + 3, j : j + 3].sum() for j in range(6)] for i in range(6)]
    )
    top, left = np.unravel_index(sums.argmin(), sums.shape)
    heat, frame = (
        shown.page.locator(f"#tab-row .framed {part}").bounding_box()
        for part in ("canvas", ".frame")
    )
    pixel = heat["width"] / 8
    assert frame["x"] - heat["x"] == pytest.approx(left * pixel, abs=0.1)
    assert frame["y"] - heat["y"] == pytest.approx(top * pixel, abs=0.1)
    assert frame["width"] == frame["height"] == pytest.approx(3 * pixel, abs=0.1)
    assert "pixels add up to the score" in shown.text("#tab-row")


def test_a_text_of_a_row_names_it_and_is_no_colour(open_page, windowed):
    shown = open_page(windowed.path)
    row = int(np.argmin(windowed.scores))
    lines = shown.text("#tab-lowest .row >> nth=0").split("\n")
    assert [line for line in lines if line][1:3] == [str(row), f"digit number {row}"]
    options = shown.page.locator("#color-by option").all_inner_texts()
    assert options == ["score"]
    shown.run("app.selectGroup([1, 2, 3], 'some');")
    assert shown.page.locator("#telling").count() == 0  # it tells no group


def test_a_page_of_vectors_says_what_there_is_not(open_page, vectors):
    shown = open_page(vectors.path)
    shown.run("app.select(3); app.openTab('about');")
    assert shown.page.locator("#tab-row figure").count() == 1
    about = shown.text("#tab-about")
    assert "There are no reconstructions: there is no embedder" in about
    assert "the rows are vectors, and the latent space themselves" in about


def test_no_word_of_the_notes_is_broken(shown):
    shown.run("app.openTab('about');")
    heads = shown.page.locator("#tab-about tbody th")
    words = [text for text in heads.all_inner_texts() if " " not in text]
    assert "embedder" in words
    one_line = shown.page.evaluate(
        """() => [...document.querySelectorAll("#tab-about tbody th")]
            .filter((node) => !node.textContent.includes(" "))
            .every((node) => {
                const range = document.createRange();
                range.selectNodeContents(node);
                return range.getClientRects().length === 1;
            })"""
    )
    assert one_line


def test_neighbours_are_listed_and_linked(shown, digits):
    row = int(np.argmin(digits.scores))
    latents = digits.detector.embedder_.transform(digits.X)
    nearest = NearestNeighbors(n_neighbors=6).fit(latents)
    expected = nearest.kneighbors(latents[[row]])[1][0, 1:]
    shown.run("app.select(x);", row)
    listed = shown.page.locator("#tab-row .rows button").all()
    assert [
        int(button.get_attribute("data-row")) for button in listed
    ] == expected.tolist()
    shown.frame()
    # A link is drawn half-way to each neighbour.
    start = np.array(shown.run("return app.map.screenOf(x);", row))
    for neighbor in expected.tolist():
        end = np.array(shown.run("return app.map.screenOf(x);", neighbor))
        if np.hypot(*(end - start)) > 60:
            assert shown.pixel("#overlay-canvas", *(start + end) / 2)[3] > 200
    listed[0].click()
    assert shown.run("return app.state.selected;") == expected[0]


def test_rows_are_found_by_their_id(shown):
    shown.page.fill("#search-id", "igit 69")
    options = shown.page.locator("#search-found [role=option]").all_inner_texts()
    assert options[0] == "digit 69"
    assert "digit 690" in options
    shown.page.keyboard.press("ArrowDown")
    shown.page.keyboard.press("ArrowDown")
    shown.page.keyboard.press("Enter")
    assert shown.text("#row-heading") == options[1]


def test_every_row_is_said_to_have_what_it_has(open_page, digits, tmp_path):
    from latentsk import explore

    path = tmp_path / "small.html"
    explore(
        digits.X,
        detector=digits.detector,
        images=(8, 8),
        path=path,
        max_bytes=len(digits.explorer.html) - 120_000,
    )
    shown = open_page(path)
    n_details = shown.run("return data.detailOf.size;")
    assert 0 < n_details < N_ROWS
    shown.run("app.openTab('about');")
    notes = shown.text("#notes")
    assert f"Of {N_ROWS} rows, {n_details} have the full image" in notes
    assert f"The other {N_ROWS - n_details} rows lack them" in notes
    lowest = np.argsort(digits.scores)[: n_details // 2]
    assert shown.run(
        "return x.every((row) => data.detailOf.has(row));", lowest.tolist()
    )
    lacking = shown.run("return data.order.find((row) => !data.detailOf.has(row));")
    shown.run("app.select(x);", lacking)
    assert "this row has its thumbnail" in shown.text("#tab-row")
    assert "5 largest of 64 reasons" in shown.text("#tab-row")


# A group


def lasso(shown, corners):
    box = shown.page.locator("#map").bounding_box()
    points = [(box["x"] + 1 + x, box["y"] + 1 + y) for x, y in corners]
    shown.page.mouse.move(*points[0])
    shown.page.mouse.down()
    for point in points[1:]:
        shown.page.mouse.move(*point, steps=3)
    shown.page.mouse.up()
    shown.frame()


def test_the_lasso_selects_what_it_goes_around(shown):
    shown.page.click("#mode-lasso")
    lasso(shown, [(200, 80), (500, 80), (500, 330), (200, 330), (201, 81)])
    places = np.array(
        shown.run("return [...Array(data.n).keys()].map(app.map.screenOf);")
    )
    inside = (places > [200, 80]).all(axis=1) & (places < [500, 330]).all(axis=1)
    # The mouse is at whole pixels, so those right on the line may be in or out.
    near = (np.abs(places[:, :1] - [200, 500]) < 1.5).any(axis=1)
    near |= (np.abs(places[:, 1:] - [80, 330]) < 1.5).any(axis=1)
    ids = shown.page.input_value("#group-ids").split("\n")
    rows = np.array([int(id.removeprefix("digit ")) for id in ids])
    assert 20 < len(rows) < N_ROWS
    found = np.zeros(N_ROWS, bool)
    found[rows] = True
    np.testing.assert_array_equal(found[~near], inside[~near])
    assert shown.text("#group-heading").startswith(f"{len(rows)} of {N_ROWS} rows")


def test_shift_and_drag_selects_too_and_a_drag_does_not(shown):
    corners = [(300, 100), (450, 100), (450, 300), (300, 300)]
    lasso(shown, corners)
    assert shown.run("return app.state.group;") is None
    shown.reset()
    shown.page.keyboard.down("Shift")
    lasso(shown, corners)
    shown.page.keyboard.up("Shift")
    assert shown.run("return app.state.group.rows.length;") > 5


def test_what_tells_a_group_is_the_standardized_mean_difference(shown, digits):
    rows = np.flatnonzero(digits.labels == 1)
    shown.run("app.selectGroup(x, 'ones');", rows.tolist())
    member = np.isin(np.arange(N_ROWS), rows)
    ink = digits.X.sum(axis=1)
    variance = ((ink[member] - ink[member].mean()) ** 2).sum() + (
        (ink[~member] - ink[~member].mean()) ** 2
    ).sum()
    expected = (ink[member].mean() - ink[~member].mean()) / np.sqrt(
        variance / (N_ROWS - 2)
    )
    lines = shown.page.locator("#telling tbody tr").all_inner_texts()
    (line,) = [line for line in lines if line.startswith("ink")]
    said = float(line.replace(MINUS, "-").split("\t")[1])
    assert said == pytest.approx(expected, rel=5e-3)
    shares = shown.page.locator("#label-shares tbody tr").first.inner_text().split("\t")
    assert shares == ["1", str(len(rows)), "100 %", "0 %"]


def test_a_download_holds_the_group(shown, digits):
    rows = [5, 3, int(np.argmin(digits.scores))]
    shown.run("app.selectGroup(x, 'some');", rows)
    with shown.page.expect_download() as waiting:
        shown.page.click("#download-csv")
    text = waiting.value.path().read_text(encoding="utf-8-sig")
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found[0] == [
        "id",
        "score",
        "below_threshold",
        "label",
        "ink",
        "batch",
        "when",
    ]
    for line, row in zip(found[1:], rows, strict=True):
        assert line[0] == f"digit {row}"
        assert float(line[1]) == digits.scores[row]  # exactly
        assert line[2] == str(int(digits.scores[row] < digits.detector.offset_))
        assert line[3] == str(digits.labels[row])
        assert float(line[4]) == digits.X[row].sum()
        assert line[6] == f"2026-01-{1 + row // 24:02} {row % 24:02}:00".removesuffix(
            " 00:00"
        )


def test_near_duplicates_are_grouped(shown):
    shown.run("app.openTab('duplicates');")
    first = shown.page.locator("#tab-duplicates section").first
    rows = first.locator(".row").all()
    assert [int(row.get_attribute("data-row")) for row in rows] == [0, 1, 2]
    first.get_by_role("button", name="Select the group").click()
    assert shown.page.input_value("#group-ids") == "digit 0\ndigit 1\ndigit 2"


# The decoder


def test_what_is_decoded_lies_under_the_points(open_page, plane):
    shown = open_page(plane.path)
    shown.page.select_option("#grid-of", label="images")
    shown.frame()
    latents = plane.detector.transform(plane.X)
    low, high = latents.min(axis=0), latents.max(axis=0)
    half = (high - low) / 2
    middle = (low + high) / 2
    half = np.full(2, half.max()) if half.min() > half.max() / 2 else half
    corner = middle - half
    center = corner + np.full((1, 2), 8.5 / 17) * 2 * half
    decoded = plane.detector.inverse_transform(center)
    image = np.clip(np.asarray(decoded).reshape(8, 8) / plane.X.max(), 0, 1) * 255
    x0, y0 = shown.run("return app.map.view.toScreen(-1/17, 1/17);")
    x1, y1 = shown.run("return app.map.view.toScreen(1/17, -1/17);")
    for i, j in [(2, 3), (4, 4), (7, 0)]:
        red, _, _, opacity = shown.pixel(
            "#grid-canvas",
            x0 + (x1 - x0 - 1) * (j + 0.5) / 8,
            y0 + (y1 - y0 - 1) * (i + 0.5) / 8,
        )
        assert red == pytest.approx(image[i, j], abs=10)
        assert opacity > 150


# Whoever reads the page


def test_the_page_asks_for_nothing_and_may_not(shown):
    assert [url for url in shown.requests if not url.startswith("blob:")] == [shown.url]
    refused = shown.page.evaluate(
        """async () => {
            const violations = [];
            document.addEventListener("securitypolicyviolation", (event) => {
                violations.push(event.effectiveDirective);
            });
            const image = new Image();
            image.src = "https://example.org/x.png";
            await fetch("https://example.org").catch(() => {});
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            await new Promise((resolve) => setTimeout(resolve, 50));
            script.remove();
            return [violations, window.ran ?? null];
        }"""
    )
    assert {"img-src", "connect-src", "script-src-elem"} <= set(refused[0])
    assert refused[1] is None
    shown.errors.clear()  # these refusals


def test_hostile_strings_are_only_text(open_page, hostile, hostile_texts):
    shown = open_page(hostile.path)
    elements = shown.page.evaluate("document.querySelectorAll('body *').length")
    assert elements > 100
    for tab in ("lowest", "row", "group", "duplicates", "about"):
        shown.run("app.openTab(x);", tab)
    for row in range(0, len(hostile_texts), 3):
        shown.run("app.select(x); app.update({hovered: x});", row)
    assert shown.run("return data.idOf(0);") == f"{hostile_texts[0]}0"
    shown.run("app.select(0);")
    assert shown.text("#row-heading") == f"{hostile_texts[0]}0"
    features = shown.page.locator("#color-by optgroup option").all_inner_texts()
    assert len(features) == hostile.X.shape[1]
    assert features[0] == hostile.X.columns[0]
    for i in range(shown.page.locator("#color-by option").count()):
        shown.page.select_option("#color-by", str(i))
    shown.run("app.selectGroup([...Array(60).keys()], '<b>group</b>');")
    shown.page.fill("#search-id", "<")
    assert shown.page.title() == f"{hostile_texts[1]} {DASH} explorer"
    assert shown.text("#title") == hostile_texts[1]
    injected = "img, svg, b, script[src], iframe, object, embed, [onerror], [onload]"
    assert shown.page.locator(injected).count() == 0
    assert shown.page.evaluate("document.scripts.length") == 2  # ours
    assert shown.page.evaluate("window.hacked ?? null") is None
    assert shown.requests == [shown.url]


def test_a_download_of_hostile_strings_is_no_formula(open_page, hostile, hostile_texts):
    shown = open_page(hostile.path)
    text = shown.run(
        "return window.explorer.csvOf(data, [...Array(x).keys()], 0);",
        len(hostile_texts),
    )
    lines = list(csv.reader(io.StringIO(text, newline="")))
    assert len(lines) == 1 + len(hostile_texts)
    for line in lines:
        assert len(line) == len(lines[0])
        for cell in line:
            is_number = cell.lstrip("-").replace(".", "").isdigit()
            assert is_number or not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert lines[6][0] == f"'{hostile_texts[5]}5"
    cells = [-1.5, "-1.5", "-2+3", "\t=1", " @x", "+44 1", "plain"]
    made = shown.page.evaluate("cells => cells.map(window.explorer.csvCell)", cells)
    assert made == ["-1.5", "-1.5", "'-2+3", "'\t=1", "' @x", "'+44 1", "plain"]


def test_everything_goes_by_the_keyboard(shown, digits):
    order = np.argsort(digits.scores, kind="stable")
    press = shown.page.keyboard.press
    shown.page.focus("#map")
    outline = "getComputedStyle(document.querySelector('#map')).outlineStyle"
    press("n")
    assert shown.page.evaluate(outline) == "solid"  # the focus is seen
    assert shown.run("return app.state.selected;") == order[0]
    press("n")
    assert shown.run("return app.state.selected;") == order[1]
    press("ArrowLeft")
    moved = shown.run("return app.state.selected;")
    assert moved != order[1]
    xs = [
        shown.run("return app.map.screenOf(x)[0];", int(i)) for i in (order[1], moved)
    ]
    assert xs[1] < xs[0]
    press("+")
    assert shown.run("return app.map.view.zoom;") > 1
    press("0")
    assert shown.run("return app.map.view.zoom;") == 1
    press("Enter")
    assert shown.page.evaluate("document.activeElement.id") == "tab-row"
    press("Escape")
    assert shown.run("return app.state.selected;") is None
    # The list of lowest scores.
    shown.page.focus("#tab-of-lowest")
    press("Enter")
    press("Tab")
    press("ArrowDown")
    press("Enter")
    assert shown.run("return app.state.selected;") == order[1]
    focused = "document.activeElement.id"
    assert shown.page.evaluate(focused) == "tab-row"  # not lost with the list
    shown.page.focus("#row-next")
    press("Enter")
    press("Enter")
    assert shown.run("return app.state.selected;") == order[3]
    assert shown.page.evaluate(focused) == "row-next"
    # Tabs, and a group without a mouse.
    shown.page.focus("#tab-of-row")
    press("ArrowRight")
    assert shown.page.get_attribute("#tab-of-group", "aria-selected") == "true"
    shown.page.get_by_role("button", name="Rows below the threshold").focus()
    press("Enter")
    expected = int((digits.detector.predict(digits.X) == -1).sum())
    assert shown.run("return app.state.group.rows.length;") == expected
    press("Escape")
    press("Escape")
    assert shown.run("return app.state.group;") is None


def test_every_control_has_a_name_and_ids_are_unique(shown):
    unnamed = shown.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea")]
            .concat([...document.querySelectorAll("canvas")])
            .filter((node) => !node.closest("[hidden]") && node.ariaHidden !== "true")
            .filter((node) => !(node.textContent.trim() || node.ariaLabel
                || node.getAttribute("aria-label") || node.labels?.length))
            .map((node) => node.outerHTML)"""
    )
    assert unnamed == []
    ids = shown.page.evaluate("[...document.querySelectorAll('[id]')].map((n) => n.id)")
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("tab", ["lowest", "row", "group", "duplicates", "about"])
def test_it_fits_a_narrow_screen(shown, tab):
    shown.page.set_viewport_size({"width": 400, "height": 800})
    try:
        shown.run(
            "app.select(3); app.selectGroup([1, 2, 3], 'some'); app.openTab(x);", tab
        )
        shown.frame()
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= 400
        beyond = shown.page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, h1, h3, p")]
                .filter((node) => node.offsetParent && !node.closest(".scroll"))
                .filter((node) => !node.classList.contains("unseen"))
                .filter((node) => node.getBoundingClientRect().right > 400.5)
                .map((node) => node.outerHTML.slice(0, 80))"""
        )
        assert beyond == []
        x = shown.run("return app.map.screenOf(3)[0];")
        assert 0 < x < 400
    finally:
        shown.page.set_viewport_size({"width": 1300, "height": 900})


def test_it_is_dark_where_the_reader_is_and_can_be_changed(open_page, digits):
    shown = open_page(digits.path, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = shown.page.evaluate(ground)
    assert dark == "rgb(21, 23, 28)"
    shown.page.select_option("#color-by", label="score")
    shown.frame()
    place = shown.run("return app.map.screenOf(data.order[0]);")
    on_dark = sum(shown.pixel("#points-canvas", *place)[:3])
    shown.page.click("#theme")
    shown.frame()
    assert shown.page.evaluate(ground) == "rgb(255, 255, 255)"
    # The lowest score stands out: light on dark, dark on light.
    assert on_dark > sum(shown.pixel("#points-canvas", *place)[:3]) + 100


def test_a_notebook_shows_it_in_a_frame_of_its_own(browser, digits):
    page = browser.new_page()
    page.set_content(f"<p>notebook</p>{digits.explorer._repr_html_()}")
    frame = page.frames[1]
    frame.wait_for_selector("html[data-ready]", timeout=30_000)
    assert frame.inner_text("#title") == "Digits"
    reaches = "() => { try { return parent.document.title } catch { return 'no' } }"
    assert frame.evaluate(reaches) == "no"
    page.close()


@pytest.mark.parametrize("hidden", ["display: none", "width: 0", "height: 0"])
def test_a_frame_has_its_points_whenever_it_is_shown(browser, digits, hidden):
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    hidden += "; overflow: hidden"
    shown = "width: 900px"
    page.set_content(f"<div style='{hidden}'>{digits.explorer._repr_html_()}</div>")
    frame = page.frames[1]
    frame.wait_for_function("() => document.readyState == 'complete'", polling=50)
    for style in (shown, hidden, shown):
        page.eval_on_selector("div", f"div => {{ div.style = '{style}' }}")
        page.evaluate("() => new Promise(requestAnimationFrame)")
    frame.wait_for_selector("html[data-ready]", timeout=30_000)
    assert errors == []
    n_painted = """() => explorer.app.map.nextFrame().then(() => {
        const { width, height } = document.getElementById("points-canvas");
        const copy = new OffscreenCanvas(width, height).getContext("2d");
        copy.drawImage(document.getElementById("points-canvas"), 0, 0);
        const { data } = copy.getImageData(0, 0, width, height);
        return data.filter((value, i) => i % 4 == 3 && value > 0).length;
    })"""
    assert frame.evaluate(n_painted) > 1_000
    x, y = frame.evaluate("() => explorer.app.map.screenOf(3)")
    assert 0 < x < 900
    assert 0 < y < 760
    page.close()

import xml.etree.ElementTree as ET

from deepspeech2.report.heat_map import Cell, HeatMapLabels, render_heat_map

SVG = "{http://www.w3.org/2000/svg}"
CELLS = [Cell(1, 0, 1, 1, 5.0), Cell(2, 0, 1, 1, 9.0), Cell(1, 1, 1, 1, 7.0), Cell(1.5, 0.5, 0.5, 0.5, 4.0)]


def draw() -> ET.Element:
    return ET.fromstring(render_heat_map(CELLS, (1.5, 0.5), HeatMapLabels("errors & more", "alpha", "beta", "%")))


def rectangle(group: ET.Element) -> tuple[float, ...]:
    found = group if group.tag == f"{SVG}rect" else group.find(f"{SVG}rect")
    assert found is not None
    return tuple(float(found.attrib[name]) for name in ("x", "y", "width", "height"))


def test_every_cell_is_drawn_with_its_value_large_ones_first() -> None:
    groups = [group for group in draw().iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]
    titles = [group.findtext(f"{SVG}title") for group in groups]
    assert sorted(titles) == sorted(
        [
            "alpha 1, beta 0: 5.000%",
            "alpha 2, beta 0: 9.000%",
            "alpha 1, beta 1: 7.000%",
            "alpha 1.5, beta 0.5: 4.000%",
        ]
    )
    assert titles[-1] == "alpha 1.5, beta 0.5: 4.000%"
    assert [group.findtext(f"{SVG}text") for group in groups][-1] == "4.00"


def test_cells_lie_where_their_coordinates_say() -> None:
    boxes = {
        group.findtext(f"{SVG}title"): rectangle(group)
        for group in draw().iter(f"{SVG}g")
        if group.find(f"{SVG}title") is not None
    }
    left, right = boxes["alpha 1, beta 0: 5.000%"], boxes["alpha 2, beta 0: 9.000%"]
    above, small = boxes["alpha 1, beta 1: 7.000%"], boxes["alpha 1.5, beta 0.5: 4.000%"]
    assert right[0] - left[0] == left[2]
    assert left[1] - above[1] == left[3]  # beta grows upwards
    assert (small[2], small[3]) == (left[2] / 2, left[3] / 2)
    assert small[0] + small[2] / 2 == left[0] + left[2]


def test_the_best_point_is_framed() -> None:
    (frame,) = [rect for rect in draw().iter(f"{SVG}rect") if rect.get("class") == "best"]
    small = next(
        group for group in draw().iter(f"{SVG}g") if group.findtext(f"{SVG}title") == "alpha 1.5, beta 0.5: 4.000%"
    )
    assert rectangle(frame) == rectangle(small)


def test_equal_values_have_a_colour() -> None:
    cells = [Cell(1, 0, 1, 1, 5.0), Cell(2, 0, 1, 1, 5.0)]
    tree = ET.fromstring(render_heat_map(cells, (1, 0), HeatMapLabels("t", "x", "y")))
    colours = {rect.attrib["fill"] for rect in tree.iter(f"{SVG}rect")} - {"white", "none"}
    assert len(colours) == 1


def test_larger_values_are_darker() -> None:
    light = {
        group.findtext(f"{SVG}title"): sum(bytes.fromhex(group.find(f"{SVG}rect").attrib["fill"][1:]))  # type: ignore[union-attr]
        for group in draw().iter(f"{SVG}g")
        if group.find(f"{SVG}title") is not None
    }
    by_value = sorted(light, key=lambda title: float(title.split(": ")[1].rstrip("%")))  # type: ignore[union-attr]
    assert [light[title] for title in by_value] == sorted(light.values(), reverse=True)
    assert len(set(light.values())) == len(CELLS)


def test_the_axes_name_the_places_of_the_cells() -> None:
    tree = draw()
    boxes = {
        group.findtext(f"{SVG}title"): rectangle(group)
        for group in tree.iter(f"{SVG}g")
        if group.find(f"{SVG}title") is not None
    }
    texts = [(text.text, float(text.attrib["x"]), float(text.attrib["y"])) for text in tree.iter(f"{SVG}text")]
    left, right = boxes["alpha 1, beta 0: 5.000%"], boxes["alpha 2, beta 0: 9.000%"]
    above = boxes["alpha 1, beta 1: 7.000%"]
    below_plot = sorted((x, text) for text, x, y in texts if y > left[1] + left[3] and text in ("1", "2"))
    assert below_plot == [(left[0] + left[2] / 2, "1"), (right[0] + right[2] / 2, "2")]
    beside_plot = sorted((y, text) for text, x, y in texts if x < left[0] and text in ("0", "1"))
    assert beside_plot == [(above[1] + above[3] / 2, "1"), (left[1] + left[3] / 2, "0")]

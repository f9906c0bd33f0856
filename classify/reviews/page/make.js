// Elements and words. Nothing here makes markup from data.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const at = (id) => document.getElementById(id);
export const bdi = (text) => make("bdi", {}, text);
export const percent = (share) => (share >= 0.995 && share < 1 ? ">99" : String(Math.round(100 * share))) + "\u00a0%";
export const words = (decision) => (decision.bad ? "bad" : decision.label || "undecided");
export const grouped = (count) => count.toLocaleString("en");
export const plural = (count, one) => `${grouped(count)} ${one}${count === 1 ? "" : "s"}`;

// Draw how many labels agree with the other images, against how many there are.
export function curve(drawing, points) {
  const [wide, high, most] = [160, 36, points.at(-1)[0]];
  const line = points.map(([count, right]) => `${(wide * count / most).toFixed(1)},${(high * (1 - right / count)).toFixed(1)}`);
  drawing.querySelector(".line").setAttribute("points", line.join(" "));
  drawing.setAttribute("aria-label", `Labels that agree with the other images, by the number of labels up to ${grouped(most)}`);
}

// A picture opens large, with the images nearest to it and their labels; of the maps of the page, the points open, too.
const large = element("dialog", "large");
document.body.append(large);
const known = new Map(); // by path: what a map says of an image, and of those nearest to it
// The first of some pictures that is there.
const figure = (path, label, note, kind, sources) => {
  const missing = element("span", "missing", isolated(path));
  const rest = sources.filter(Boolean);
  const image = rest.length ? element("img", "") : missing;
  if (rest.length) {
    image.addEventListener("error", () => (rest.length ? (image.src = rest.shift()) : image.replaceWith(missing)));
    [image.src, image.alt] = [rest.shift(), `${path}: ${label}`];
  }
  return element("figure", kind, image, element("figcaption", "", element("strong", "", isolated(label)), ` ${note} `, element("span", "where", isolated(path))));
};
const openLarge = (path, label, sources = [largeOf.get(path), pictureOf.get(path)]) => {
  const found = known.get(path);
  const close = element("button", "close", "Close");
  close.addEventListener("click", () => large.close());
  large.setAttribute("aria-label", path);
  large.replaceChildren(close, figure(path, found?.words ?? label, "", "one", sources));
  if (found?.near?.length) {
    const own = found.label;
    const nearest = found.near.map(([other, its, cosine]) => {
      const made = figure(other, its || "no label", cosine.toFixed(3), own && its && its !== own ? "other" : "", [pictureOf.get(other)]);
      return element("li", "", made);
    });
    large.append(element("h3", "", found.title), element("ul", "nearest", ...nearest));
  }
  if (!large.open) large.showModal();
};
large.addEventListener("click", (event) => event.target === large && large.close());
document.addEventListener("click", (event) => {
  const box = event.target.closest?.(".gallery .image");
  if (box) openLarge(box.querySelector(".where").textContent, box.querySelector(".answer")?.textContent.trim() ?? "", box.sources);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches?.(".gallery .image")) return;
  event.preventDefault(); // else the key presses the button that then has the focus
  event.target.click();
});
const maps = [];
for (const holder of document.querySelectorAll("[data-map]")) {
  const data = JSON.parse(holder.querySelector("script").textContent);
  for (const [path, source] of Object.entries(data.pictures)) if (!pictureOf.has(path)) pictureOf.set(path, source);
  for (const [path, source] of Object.entries(data.large)) if (!largeOf.has(path)) largeOf.set(path, source);
  for (const [path, label, words, near] of data.near) known.set(path, { label, words, near, title: data.title });
  holder.hidden = false;
  const open = (place) => openLarge(data.paths[place], map.words(place));
  const map = pointMap(holder.querySelector(".map"), data, { picture: (path) => pictureOf.get(path), open });
  maps.push(map);
}

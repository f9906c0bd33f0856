// The grid of a review: of any number of images, only those in sight have an element.

export class Tiles {
  // `draw(image, old)` returns the element of an image, `old` itself if there is one.
  constructor(grid, above, below, draw) {
    Object.assign(this, { grid, above, below, draw, order: [], drawn: new Map(), heights: [], columns: 0, seen: 0, asked: false });
    const later = () => {
      if (this.asked) return;
      this.asked = true;
      requestAnimationFrame(() => { this.asked = false; this.show(); });
    };
    addEventListener("scroll", later, { passive: true });
    new ResizeObserver(later).observe(above.parentElement);
  }

  // Of `seen` images the place must stay: a person has them before the eyes.
  set(order, seen = 0) {
    [this.order, this.seen] = [order, seen];
    this.show();
  }

  // Draw what an image is now, if it is in sight.
  redraw(image) {
    const old = this.drawn.get(image);
    if (old) this.draw(image, old);
  }

  get usual() {
    const known = this.heights.filter(Boolean);
    return known.length ? known.reduce((sum, height) => sum + height, 0) / known.length : 330;
  }

  // Draw the rows within a screen of what is seen, and leave room for all others.
  show() {
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    if (columns !== this.columns) { this.heights = []; this.columns = columns; }
    const rows = Math.ceil(this.order.length / columns);
    for (let turn = 0, rest = true; rest && turn < 3; turn += 1) {
      const usual = this.usual;
      const height = (row) => this.heights[row] ?? usual;
      let first = 0;
      let top = this.above.getBoundingClientRect().top;
      let skipped = 0;
      for (; first < rows - 1 && top + height(first) < -innerHeight; first += 1) { top += height(first); skipped += height(first); }
      let last = first;
      for (; last < rows && top < 2 * innerHeight; last += 1) {
        top += height(last);
        if (top < innerHeight + height(last)) this.seen = Math.max(this.seen, (last + 1) * columns);
      }
      let left = 0;
      for (let row = last; row < rows; row += 1) left += height(row);
      this.place(this.order.slice(first * columns, last * columns));
      this.above.style.height = `${skipped}px`;
      this.below.style.height = `${left}px`;
      rest = this.measure(first, last);
    }
  }

  place(images) {
    const wanted = new Set(images);
    for (const [image, element] of this.drawn) {
      if (wanted.has(image)) continue;
      element.remove();
      this.drawn.delete(image);
    }
    images.forEach((image, place) => {
      const element = this.drawn.get(image) ?? this.draw(image, null);
      this.drawn.set(image, element);
      if (this.grid.children[place] !== element) this.grid.insertBefore(element, this.grid.children[place] ?? null);
    });
  }

  // Remember how high rows are; return whether that is news.
  measure(first, last) {
    let news = false;
    const usual = this.usual;
    const gap = parseFloat(getComputedStyle(this.grid).rowGap) || 0;
    for (let row = first; row < last; row += 1) {
      const height = this.drawn.get(this.order[row * this.columns]).offsetHeight + gap;
      news ||= Math.abs((this.heights[row] ?? usual) - height) > 1;
      this.heights[row] = height;
    }
    return news;
  }

  // Bring an image into sight, and return its element.
  reach(image) {
    if (!this.drawn.has(image)) {
      const usual = this.usual;
      const row = Math.floor(this.order.indexOf(image) / this.columns);
      let top = this.above.getBoundingClientRect().top + scrollY - innerHeight / 3;
      for (let before = 0; before < row; before += 1) top += this.heights[before] ?? usual;
      scrollTo({ top, behavior: "instant" });
      this.show();
    }
    return this.drawn.get(image);
  }
}

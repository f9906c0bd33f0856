// What the page knows; all scripts share it. Nothing here asks the server or draws.

export const MANY = 9; // classes that all have a button of their own, and a key
export const SOME = 120; // most images whose states are asked for at once

export const page = {
  now: null, // the state as the server last said it
  names: [], // of the classes
  list: null,
  order: [], // images of the list, in the order in which they are shown
  fresh: new Set(), // images that joined the suspects with the latest decision
  gone: new Set(), // suspects that are no longer doubted
  current: null, // the image that the keyboard is at
  anchor: null, // that of the last click or key, from which a range is selected
  waits: "", // what is looked for before the list can be shown
  version: 0, // of what is decided and filtered; answers to questions of before are dropped
};
export const known = new Map(); // image -> what the server last said of it
export const selected = new Set();
export const skipped = new Set();
export const added = []; // classes that a person has typed and that no image has yet
export const recent = []; // classes that were given last, the latest first
export const acts = {}; // what buttons and tiles ask for by name, of the scripts further up

export const classes = () => [...page.names, ...added.filter((name) => !page.names.includes(name))];

// The class that a new name differs from in case only.
export const twin = (name) => classes().find((each) => each !== name && each.toLowerCase() === name.toLowerCase());

// Whether not all classes have a button on every image.
export const some = () => page.names.length + added.length > MANY;

export function learn(subjects) {
  for (const [image, subject] of Object.entries(subjects)) known.set(Number(image), subject);
}

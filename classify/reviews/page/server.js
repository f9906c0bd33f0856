// Questions to the review's own server, and what is said about their answers.
import { at } from "./make.js";

export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store" });
  } catch {
    throw new Error("The review has ended, or cannot be reached. Everything before is in the csv.");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

let queue = Promise.resolve(); // one request after another: decisions have an order

export function inTurn(doing) {
  queue = queue.then(async () => {
    document.body.dataset.busy = "";
    try {
      await doing();
    } catch (error) {
      say(true, error.message);
    } finally {
      delete document.body.dataset.busy;
    }
  });
  return queue;
}

export function say(wrong, ...parts) {
  at("said").classList.toggle("error", wrong);
  at("said").replaceChildren(...parts);
}

export const refused = () => at("said").classList.contains("error");

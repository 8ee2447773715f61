// The page of one rater: it asks the server for views and sends the rater's answers.

import { mount } from "./chooser.js";

const AFTER = "Your choices are kept. You can close this page.";
const ATTEMPTS = 3; // for an answer on a weak network; the server keeps an answer once
const WAIT = 800; // milliseconds between attempts

const page = document.getElementById("rate");
const root = document.getElementById("chooser");
const notice = document.getElementById("notice");
const address = page.dataset.answers;
const token = document.querySelector("meta[name=xsrf-token]").content;

let draw = () => {};

async function ask(options = {}) {
  const answer = await fetch(address, { credentials: "same-origin", ...options });
  if (answer.ok) return { ...(await answer.json()), after: AFTER };
  if (answer.status === 403) throw new Error("this name is in use elsewhere. Load the page again.");
  throw new Error("the server could not keep it. Please tell your teacher.");
}

async function send(message, attempts) {
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-XSRFToken": token },
    body: JSON.stringify(message),
  };
  try {
    return await ask(options);
  } catch (error) {
    // A TypeError tells that no answer came, so that the server may be away for a moment.
    if (!(error instanceof TypeError)) throw error;
    if (attempts <= 1) throw new Error("there is no connection to the server. Choose again.");
  }
  await new Promise((resolve) => setTimeout(resolve, WAIT));
  return await send(message, attempts - 1);
}

// To take an answer back twice would take back two answers.
async function act(message) {
  draw(await send(message, message.event === "undo" ? 1 : ATTEMPTS));
}

function tell(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

async function look() {
  if (document.hidden) return;
  try {
    draw(await ask());
    tell("");
  } catch (error) {
    tell(`The questions cannot be loaded now: ${error.message}`);
  }
}

async function start() {
  let view;
  try {
    view = await ask();
  } catch (error) {
    tell(`The questions cannot be loaded: ${error.message}`);
    return;
  }
  root.replaceChildren();
  mount(root, {
    view,
    url: (code) => `/pictures/${code}`,
    act,
    onView: (callback) => (draw = callback),
  });
  root.firstChild.focus({ preventScroll: true }); // keys work at once
  document.addEventListener("visibilitychange", look); // another tab may have answered meanwhile
}

start();

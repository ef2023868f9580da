// What every page needs beside htmx: a question before actions that cannot be undone.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !window.confirm(question)) event.preventDefault();
});

// A page that answers an action is not to ask for it again when it is loaded anew.
if (document.querySelector("[data-answer]")) {
  const place = window.location.pathname.replace(/^(\/recordings\/\d+|\/status)\/[\w-]+$/, "$1");
  history.replaceState(null, "", place);
}

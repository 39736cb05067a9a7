// Security keys (WebAuthn): the browser asks the key, and the form sends its answer.

for (const form of document.querySelectorAll("form[data-security-key]")) {
  const button = form.querySelector("[data-security-key-use], [data-security-key-add]");
  button?.addEventListener("click", () => ask(form, "securityKeyAdd" in button.dataset));
}

async function ask(form, isNew) {
  const error = form.querySelector("[data-security-key-error]");
  error.hidden = true;
  try {
    const answer = await answerOf(JSON.parse(form.dataset.securityKey).publicKey, isNew);
    form.elements.credential.value = JSON.stringify(answer.toJSON());
    form.submit();
  } catch (exception) {
    error.textContent = sentence(exception);
    error.hidden = false;
  }
}

function answerOf(options, isNew) {
  if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) {
    throw new DOMException("", "NotSupportedError");
  }
  if (isNew) {
    return navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
    });
  }
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
}

function sentence(exception) {
  if (exception.name === "NotSupportedError" || exception.name === "SecurityError") {
    return gettext("Security keys need HTTPS, a host name and a recent browser.");
  }
  if (exception.name === "InvalidStateError") {
    return gettext("This security key is added already.");
  }
  return gettext("The security key gave no answer. Try again.");
}

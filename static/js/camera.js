// Takes a picture with the device's camera: openCamera(use, refuse) calls use(File) or refuse(message).
const dialog = document.getElementById("camera-dialog");
const view = document.getElementById("camera-view");

const REASONS = {
  NotAllowedError: gettext("The browser may not use the camera. Allow it in the address bar, or choose a file."),
  NotFoundError: gettext("This device has no camera. Choose a file instead."),
  NotReadableError: gettext("Another program uses the camera. Close it there first."),
};

function close() {
  for (const track of view.srcObject?.getTracks() ?? []) track.stop();
  view.srcObject = null;
}

function picture() {
  const canvas = document.createElement("canvas");
  canvas.width = view.videoWidth;
  canvas.height = view.videoHeight;
  canvas.getContext("2d").drawImage(view, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

export async function openCamera(use, refuse) {
  if (!navigator.mediaDevices) {
    refuse(gettext("Browsers allow the camera only on https or localhost. Choose a file instead."));
    return;
  }
  try {
    view.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (problem) {
    refuse(REASONS[problem.name] ?? gettext("The camera does not answer. Choose a file instead."));
    return;
  }
  dialog.showModal();
  document.getElementById("camera-take").onclick = async () => {
    const blob = await picture();
    dialog.close();
    use(new File([blob], "camera.jpg", { type: "image/jpeg" }));
  };
}

dialog?.addEventListener("close", close);

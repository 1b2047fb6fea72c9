// Files that the user gives -> images for a question.

const MOST_PIXELS = 4_000_000; // models look at far fewer; a phone's photograph has twelve million and more
const QUALITY = 0.92;
const MORE_THAN_BROWSERS_READ = /\.(hei[cf]|avif|tiff?|jp2|jpe?g|png|gif|webp|bmp|dib|ico|tga|p[bgpn]m|qoi|psd|icns)$/i;

/**
 * Read one file. What the browser cannot decode (HEIC, TIFF) goes to the server as it is, if its name or type says
 * that it is an image.
 *
 * Returns {name, dataUri, url, width, height}; url shows the image here and is null if the browser cannot.
 * Throws an Error of one line.
 */
export async function readImage(file) {
  const name = file.name || "image";
  if (file.size === 0) throw new Error(`${name} is empty.`);
  const url = URL.createObjectURL(file);
  const element = new Image();
  element.src = url;
  try {
    await element.decode();
  } catch {
    URL.revokeObjectURL(url);
    if (!file.type.startsWith("image/") && !MORE_THAN_BROWSERS_READ.test(name)) throw new Error(`${name} is not an image.`);
    return { name, dataUri: await dataUri(file), url: null, width: 0, height: 0 };
  }
  const { naturalWidth: width, naturalHeight: height } = element;
  const sent = mustBeDrawn(file, width, height) ? await drawn(element, file.type) : file;
  return { name, dataUri: await dataUri(sent), url, width, height };
}

function mustBeDrawn(file, width, height) {
  return width * height > MOST_PIXELS || file.type === "image/svg+xml"; // servers read no SVG
}

/** The image on a canvas, at most MOST_PIXELS large, as a file again. */
async function drawn(element, type) {
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (element.naturalWidth * element.naturalHeight)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(element.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(element.naturalHeight * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  if (type !== "image/jpeg") {
    pen.fillStyle = "#fff"; // as the server does with what is transparent
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }
  pen.drawImage(element, 0, 0, canvas.width, canvas.height);
  const kind = type === "image/jpeg" || type === "image/webp" ? "image/jpeg" : "image/png";
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, kind, QUALITY));
  if (blob === null) throw new Error("The image is too large for this browser to shrink.");
  return blob;
}

function dataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(withType(reader.result));
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(blob);
  });
}

// A browser that does not know a file's type calls it application/octet-stream, or nothing.
function withType(uri) {
  return uri.startsWith("data:image/") ? uri : `data:image/unknown${uri.slice(uri.indexOf(";"))}`;
}

/** The image files of a drop or a paste. */
export function filesOf(transfer) {
  return transfer ? [...transfer.files] : [];
}

// The only script tag of every page. Each module finds its own hooks (data-*) and does nothing without them.
import "./keys.js";
import "./select.js";
import "./now.js";
import "./toasts.js";
import "./dialog.js";
import "./faults.js";
import "./fields.js";
import "./tags.js";
import "./pictures.js";
import "./uploads.js";
import "./zone.js";
import "./copy.js";
import "./order.js";
import "./unsaved.js";

from django.urls import URLPattern, path

from automations.web.views import editor, listing, running

app_name = "automations"
urlpatterns: list[URLPattern] = [
    path("automations/", listing.listing, name="list"),
    path("automations/new/", listing.new, name="new"),
    path("automations/ahead/", listing.ahead, name="ahead"),
    path("automations/moves/", listing.moves, name="moves"),
    path("automations/pause/", listing.pause_all, name="pause-all"),
    path("automations/go-on/", listing.go_on_all, name="go-on-all"),
    path("automations/new-drafts/", listing.new_drafts, name="new-drafts"),
    path("automations/reorder/", listing.reorder, name="reorder"),
    path("automations/<uuid:pk>/", editor.editor, name="editor"),
    path("automations/<uuid:pk>/preview/", editor.preview_unsaved, name="preview"),
    path("automations/<uuid:pk>/runs/", editor.last_runs, name="last-runs"),
    path("automations/<uuid:pk>/history/", editor.history, name="history"),
    path("automations/<uuid:pk>/holidays/", editor.add_holidays, name="add-holidays"),
    path("automations/<uuid:pk>/holidays/<uuid:blackout_id>/remove/", editor.remove_holidays, name="remove-holidays"),
    path("automations/<uuid:pk>/toggle/", listing.toggle, name="toggle"),
    path("automations/<uuid:pk>/duplicate/", listing.duplicate, name="duplicate"),
    path("automations/<uuid:pk>/delete/", listing.delete, name="delete"),
    path("automations/<uuid:pk>/run/", running.run, name="run"),
    path("automations/<uuid:pk>/test/", running.test, name="test"),
    path("automations/<uuid:pk>/runs/<uuid:run_id>/undo/", running.undo, name="undo"),
]

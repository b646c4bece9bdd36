from django.urls import URLPattern, path

from deviations.web.views import bulk, listing, now, work, zone

app_name = "deviations"
urlpatterns: list[URLPattern] = [
    path("", listing.home, name="home"),
    path("now/", now.now, name="now"),
    path("zone/", zone.choose, name="zone"),
    path("works/", listing.works, name="works"),
    path("works/filters/", listing.filter_tabs, name="filters"),
    path("works/new/", listing.new, name="new"),
    path("works/schedule/", bulk.schedule, name="bulk-schedule"),
    path("works/unschedule/", bulk.unschedule, name="bulk-unschedule"),
    path("works/publish-now/", bulk.publish, name="bulk-publish-now"),
    path("works/ready/", bulk.ready, name="bulk-ready"),
    path("works/not-ready/", bulk.not_ready, name="bulk-not-ready"),
    path("works/trash/", bulk.trash, name="bulk-trash"),
    path("works/restore/", bulk.restore, name="bulk-restore"),
    path("changes/<uuid:change>/undo/", bulk.undo, name="undo"),
    path("works/<uuid:pk>/", work.work, name="work"),
    path("works/<uuid:pk>/card/", listing.card, name="card"),
    path("works/<uuid:pk>/state/", work.state, name="state"),
    path("works/<uuid:pk>/schedule/", work.schedule, name="schedule"),
    path("works/<uuid:pk>/unschedule/", work.unschedule, name="unschedule"),
    path("works/<uuid:pk>/publish-now/", work.publish, name="publish-now"),
    path("works/<uuid:pk>/retry/", work.retry, name="retry"),
    path("works/<uuid:pk>/ready/", work.ready, name="ready"),
    path("works/<uuid:pk>/trash/", work.trash, name="trash"),
    path("works/<uuid:pk>/restore/", work.restore, name="restore"),
    path("works/<uuid:pk>/files/", work.add_file, name="add-file"),
    path("works/<uuid:pk>/files/<uuid:file_id>/", work.original, name="file"),
    path("works/<uuid:pk>/files/<uuid:file_id>/remove/", work.take_file_out, name="remove-file"),
    path("works/<uuid:pk>/files/<uuid:file_id>/move/", work.move_file, name="move-file"),
]

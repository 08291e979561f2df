package api

import (
	"embed"
	"net/http"
)

//go:embed web
var web embed.FS

// page serves the web page at / and its modules under /web/.
func page() http.Handler {
	files := http.FileServerFS(web)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.ServeFileFS(w, r, web, "web/index.html")
			return
		}
		files.ServeHTTP(w, r)
	})
}
